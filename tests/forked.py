"""A function called in a fork of this process: what ends the process ends only the fork."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from contextlib import suppress
from typing import Any, BinaryIO


class Forked:
    """`function` of one argument; calls are answered by None where the fork dies, and the next has a new one."""

    def __init__(self, function: Callable[[Any], Any]) -> None:
        self._function = function
        self._fork: tuple[int, BinaryIO, BinaryIO] | None = None
        self.ended = 0  # exit code of the fork that died last; of a signal its number below 0

    def __call__(self, argument: Any) -> Any:
        self._fork = self._fork or self._forked()
        child, there, back = self._fork
        try:
            pickle.dump(argument, there)
            there.flush()
            return pickle.load(back)
        except (EOFError, BrokenPipeError):
            self._fork = None
            self.ended = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            back.close()
            with suppress(BrokenPipeError):
                there.close()
            return None

    def _forked(self) -> tuple[int, BinaryIO, BinaryIO]:
        (taken, there), (back, given) = os.pipe(), os.pipe()
        child = os.fork()
        if child == 0:
            os.close(there)
            os.close(back)
            with open(taken, "rb") as arguments, open(given, "wb") as answers:
                self._answer(arguments, answers)
        os.close(taken)
        os.close(given)
        return child, open(there, "wb"), open(back, "rb")

    def _answer(self, arguments: BinaryIO, answers: BinaryIO) -> None:
        while True:
            try:
                argument = pickle.load(arguments)
            except EOFError:
                os._exit(0)
            pickle.dump(self._function(argument), answers)
            answers.flush()
