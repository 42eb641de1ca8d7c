"""One pass in many processes: which rank explains which probes, and how ranks share results."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any, TypeVar

from torch import distributed

from lightning_ablationcam.arguments import is_a
from lightning_ablationcam.lightning import Trainer

T = TypeVar("T")


class RankError(RuntimeError):
    """Something went wrong on another rank; the message says where and what."""


class Ranks:
    """The processes of a run, seen from one of them.

    Whatever happens on one rank, every rank reaches the collective, with its value or with its
    error: a missing rank would leave the others waiting.

    Args:
        rank: The rank of this process.
        size: How many processes there are. If there is only 1, nothing is communicated.
    """

    def __init__(self, rank: int = 0, size: int = 1) -> None:
        self.rank = rank
        self.size = size

    @classmethod
    def of(cls, trainer: Trainer) -> Ranks:
        """The ranks of a Trainer.

        Raises:
            ValueError: If its strategy splits the parameters over the processes, so that no
                process could run the network by itself, or communicates by other means.
        """
        strategy: Any = trainer.strategy
        splits = any(is_a(strategy, name) for name in ("FSDPStrategy", "ModelParallelStrategy"))
        if splits or getattr(strategy, "zero_stage_3", False):
            raise ValueError(
                f"AblationCAMMonitor cannot run under {type(strategy).__name__}, which splits the "
                "parameters over the processes: a part of the network cannot be run on its own "
                "there. Choose strategy='ddp', or leave the monitor out"
            )
        size: int = trainer.world_size
        if size > 1 and not (distributed.is_available() and distributed.is_initialized()):
            raise ValueError(
                f"AblationCAMMonitor cannot run under {type(strategy).__name__} with {size} "
                "processes: it needs torch.distributed. Choose strategy='ddp', or leave it out"
            )
        return cls(trainer.global_rank, size)

    def rows(self, count: int, *, split: bool = True) -> slice:
        """Which of ``count`` probes this rank explains.

        Args:
            count: How many probes there are.
            split: Whether they are divided evenly, in order; otherwise the first rank has all.
                With fewer probes than ranks, some ranks have none.

        Example:
            >>> [Ranks(rank, 3).rows(5) for rank in range(3)]
            [slice(0, 2, None), slice(2, 4, None), slice(4, 5, None)]
        """
        if not split:
            return slice(0, count if self.rank == 0 else 0)
        each, more = divmod(count, self.size)
        start = self.rank * each + min(self.rank, more)
        return slice(start, start + each + (self.rank < more))

    def share(self, make: Callable[[], T]) -> T:
        """The first rank's value, on every rank; ``make`` runs on the first rank only.

        Raises:
            RankError: On the other ranks, if ``make`` raised on the first.
        """
        if self.size == 1:
            return make()
        told, error = _outcome(make) if self.rank == 0 else (None, None)
        parcel = [told]
        distributed.broadcast_object_list(parcel, src=0)
        try:
            if error is not None:
                raise error
        finally:
            del error  # Its frames hold a failed pass's tensors.
        value: T = _value(parcel[0], rank=0)
        return value

    def gather(self, make: Callable[[], T]) -> list[T]:
        """Every rank's value, in the order of ranks, on every rank.

        Raises:
            RankError: If ``make`` raised on another rank; if it raised on this one, its own error
                is raised.
        """
        if self.size == 1:
            return [make()]
        told, error = _outcome(make)
        parcels: list[Any] = [None] * self.size
        distributed.all_gather_object(parcels, told)
        try:
            if error is not None:
                raise error
        finally:
            del error  # Its frames hold a failed pass's tensors.
        return [_value(each, rank) for rank, each in enumerate(parcels)]


def _outcome(make: Callable[[], Any]) -> tuple[tuple[bytes | None, str | None], Exception | None]:
    """What to tell the other ranks, and the error; every error is caught here and raised later.

    The value is sent pickled, so that a failure to pickle it is an error like any other; only the
    text of an error is sent, since errors may not be picklable.
    """
    try:
        return (pickle.dumps(make()), None), None
    except Exception as error:
        return (None, f"{type(error).__name__}: {error}"), error


def _value(told: Any, rank: int) -> Any:
    value, problem = told
    if problem is not None:
        raise RankError(f"on rank {rank}: {problem}")
    return pickle.loads(value)
