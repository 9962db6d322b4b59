"""Which clock tells the truth here: the wall's, or the processor time of this process."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Self

import psutil

from kit import device
from kit.errors import unknown

if TYPE_CHECKING:
    from collections.abc import Callable

ClockName = Literal["auto", "wall", "cpu"]

BUSY = 0.15
"""From this share of the cores taken by others on, a machine counts as busy."""


class Watch:
    """What other processes take of the cores between two looks.

    The load average alone cannot tell: after a training run it is high, and all of it is our own.
    """

    def __init__(self) -> None:
        self._start = self._look()

    def others(self) -> float:
        """Return the share of all cores (0 to 1) that others have used since this watch was made."""
        total, busy, own = (now - then for now, then in zip(self._look(), self._start, strict=True))
        return min(1.0, max(0.0, (busy - own) / total)) if total > 0 else 0.0

    def busy(self) -> float:
        """Return the share of all cores (0 to 1) that was in use since this watch was made, ours included."""
        total, busy, _ = (now - then for now, then in zip(self._look(), self._start, strict=True))
        return min(1.0, max(0.0, busy / total)) if total > 0 else 0.0

    @staticmethod
    def _look() -> tuple[float, float, float]:
        times = psutil.cpu_times()
        total = sum(times) - getattr(times, "guest", 0.0) - getattr(times, "guest_nice", 0.0)
        idle = times.idle + getattr(times, "iowait", 0.0)
        return total, total - idle, time.process_time()


@dataclass(frozen=True)
class Clock:
    """A clock and why it was chosen.

    Attributes:
        name: "wall" (`time.perf_counter`) or "cpu" (`time.process_time`: all threads of this process).
        reason: one line.
    """

    name: Literal["wall", "cpu"]
    reason: str

    @property
    def read(self) -> Callable[[], float]:
        """The function that reads it, in seconds."""
        return time.process_time if self.name == "cpu" else time.perf_counter

    @classmethod
    def choose(cls, name: ClockName, *, seconds: float = 0.25) -> Self:
        """Return the clock asked for; "auto" watches the machine for some `seconds` first.

        Processor time is blind to waiting, so other people's work hardly disturbs it; but it adds up
        what all threads did, so it compares models of one thread only.

        Raises:
            ArgumentError: when the name is unknown.
        """
        if name in {"wall", "cpu"}:
            return cls(name, "it was asked for")
        if name != "auto":
            raise unknown("clock", name, ("auto", "wall", "cpu"))
        watch = Watch()
        time.sleep(seconds)
        others = watch.others()
        taken = f"others take {others:.0%} of the cores, load {device.load():.1f} a core"
        if others >= BUSY:
            return cls("cpu", f"the machine is busy: {taken}")
        return cls("wall", f"the machine is quiet: {taken}")
