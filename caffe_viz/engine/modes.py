"""Device and seed of nets created later, as `caffe.set_mode_gpu` and `caffe.set_random_seed` set them."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch

from caffe_viz.errors import InputError


@dataclass
class _Modes:
    gpu: bool = False
    number: int = 0
    seeds: torch.Generator = field(default_factory=torch.Generator)


_modes = _Modes()
_modes.seeds.seed()


def set_mode_cpu() -> None:
    """Run nets that are created from now on on the CPU."""
    _modes.gpu = False


def set_mode_gpu() -> None:
    """Run nets that are created from now on on the GPU.

    Raises:
        InputError: torch finds none.
    """
    if not torch.cuda.is_available():
        raise InputError("torch finds no GPU on this machine: use caffe.set_mode_cpu().")
    _modes.gpu = True


def set_device(number: int) -> None:
    """Choose the GPU."""
    _modes.number = number


def set_random_seed(seed: int) -> None:
    """Make fillers and dropout of nets that are created from now on repeatable."""
    _modes.seeds.manual_seed(seed)


def device(name: str | torch.device | None) -> torch.device:
    """Return the device of that name, by default that of the mode.

    Raises:
        InputError: torch does not know it, or it does not exist.
    """
    if name is None:
        name = f"cuda:{_modes.number}" if _modes.gpu else "cpu"
    try:
        return torch.zeros(0, device=name).device
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"device {str(name)!r} cannot be used ({reason}): try cpu, or cuda.") from None


def draw() -> int:
    """Draw a seed for one filler."""
    return int(torch.randint(2**62, (), generator=_modes.seeds))


def generator(place: torch.device) -> torch.Generator:
    """A generator for the layers of one net."""
    return torch.Generator(place).manual_seed(draw())
