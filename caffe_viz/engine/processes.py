"""What `caffe` reports about several processes that train one net: there is always one."""

from __future__ import annotations


def solver_count() -> int:
    """How many solvers train one net: always one."""
    return 1


def solver_rank() -> int:
    """The number of this solver among them."""
    return 0


def has_nccl() -> bool:
    """Whether several GPUs can train one net."""
    return False


def set_solver_count(count: int) -> None:
    """Only 1; more raise NotImplementedError."""
    _alone(count == solver_count())


def set_solver_rank(rank: int) -> None:
    """Only 0; more raise NotImplementedError."""
    _alone(rank == solver_rank())


def set_multiprocess(several: bool) -> None:
    """Only False; True raises NotImplementedError."""
    _alone(not several)


def _alone(alone: bool) -> None:
    if not alone:
        raise NotImplementedError("this Caffe trains a net in one process, on one device.")
