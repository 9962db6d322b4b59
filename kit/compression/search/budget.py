"""`Budget`: what a search may spend, and what it should get for it."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from math import inf, log2
from typing import Any, Literal

from kit.errors import ArgumentError, nearest, unknown

Goal = Literal["bytes", "latency", "accuracy"]
Cost = Literal["bytes", "latency"]

_GOALS: dict[str, Goal] = {
    "smallest": "bytes",
    "fewest bytes": "bytes",
    "fastest": "latency",
    "most accurate": "accuracy",
    "best": "accuracy",
}
_WORDS: dict[Goal, str] = {"bytes": "smallest", "latency": "fastest", "accuracy": "most accurate"}
_UNITS: dict[str, tuple[str, float]] = {
    **dict.fromkeys(("point", "points", "pp", "%", "percent"), ("max_drop", 1.0)),
    **dict.fromkeys(("b", "byte", "bytes"), ("max_bytes", 1.0)),
    "kb": ("max_bytes", 1e3),
    "mb": ("max_bytes", 1e6),
    "kib": ("max_bytes", 1024.0),
    "mib": ("max_bytes", 1024.0**2),
    **dict.fromkeys(("ms", "millisecond", "milliseconds"), ("max_ms", 1.0)),
    "us": ("max_ms", 1e-3),
    "µs": ("max_ms", 1e-3),
    "s": ("max_ms", 1e3),
}
_NUMBER = r"[1-9]\d{0,2}(?:,\d{3})+|\d+(?:\.\d+)?"
_LIMIT = re.compile(
    rf"(?P<lose>lose )?(?:at most|no more than|up to|≤|<=) ?(?P<number>{_NUMBER}) ?(?P<unit>[^\d\W]+|%)"
)
_EXAMPLES = (
    "'lose at most 0.5 points; smallest', 'at most 50 kB; most accurate' or 'at most 2 ms; most accurate'"
)


@dataclass(frozen=True)
class Budget:
    """Limits, and what is wanted within them.

    Attributes:
        max_drop: points of accuracy that may be lost against the model as it came; for regression percent
            of its RMSE.
        max_bytes: of the model file.
        max_ms: of a call with one sample, in milliseconds.
        best: "bytes" (the smallest), "latency" (the fastest) or "accuracy" (the most accurate).

    >>> Budget.parse("lose at most 0.5 points; smallest")
    Budget(max_drop=0.5, max_bytes=None, max_ms=None, best='bytes')
    >>> print(Budget(max_bytes=50_000, best="accuracy"))
    at most 50,000 bytes; most accurate
    """

    max_drop: float | None = None
    max_bytes: float | None = None
    max_ms: float | None = None
    best: Goal = "bytes"

    def __post_init__(self) -> None:
        """Check that the limits are numbers, and that they limit what the goal would otherwise give away."""
        if self.best not in _WORDS:
            raise unknown("goal", self.best, _WORDS)
        for key, value in self.limits.items():
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < inf:
                raise ArgumentError(f"{key} must be a number, 0 or more, got {value!r}")
        if self.best == "accuracy" and not self.limits.keys() & {"max_bytes", "max_ms"}:
            raise ArgumentError(
                "the most accurate of all is the model itself: say how large or slow it may be"
            )
        if self.best != "accuracy" and self.max_drop is None:
            raise ArgumentError(
                f"the {_WORDS[self.best]} of all knows nothing: say what may be lost, such as "
                f"'lose at most 0.5 points; {_WORDS[self.best]}'"
            )

    @classmethod
    def parse(cls, text: str | Budget) -> Budget:
        """Read a budget such as "lose at most 0.5 points; smallest"; a `Budget` is returned as it is.

        Clauses are parted by semicolons, commas or "and": limits in points, bytes (kB, MB, KiB, MiB) or ms,
        and one goal.

        Raises:
            ArgumentError: names the clause that was not understood, and shows what one looks like.
        """
        if isinstance(text, Budget):
            return text
        if not isinstance(text, str):
            raise ArgumentError(f"a budget is a kit.Budget or text such as {_EXAMPLES}; got {text!r}")
        found: dict[str, Any] = {}
        for clause in re.split(r";|,(?!\d)| and ", text):
            key, value = _clause(" ".join(clause.lower().split()), text)
            if key in found:
                raise ArgumentError(f"the budget {text!r} says {key} twice")
            found[key] = value
        if "best" not in found:
            raise ArgumentError(f"the budget {text!r} has no goal; add one of: {', '.join(_GOALS)}")
        return cls(**found)

    @property
    def limits(self) -> dict[str, float]:
        """The limits that were set, by name."""
        named = {key: getattr(self, key) for key in ("max_drop", "max_bytes", "max_ms")}
        return {key: value for key, value in named.items() if value is not None}

    @property
    def cost(self) -> Cost:
        """What is traded for accuracy: "bytes" or "latency"."""
        if self.best != "accuracy":
            return self.best
        return "bytes" if self.max_bytes is not None else "latency"

    @property
    def timed(self) -> bool:
        """Whether the budget depends on speed, so that it has to be measured."""
        return self.cost == "latency" or self.max_ms is not None

    def excess(self, drop: float, size: float, ms: float | None) -> float:
        """Return by how much a model breaks the limits: points, and doublings of bytes and time; 0 for none.

        Args:
            drop: points lost.
            size: bytes.
            ms: of a call; None when it was not measured, as no limit asks for it.
        """
        over = [0.0]
        if self.max_drop is not None:
            over.append(drop - self.max_drop - 1e-9)
        if self.max_bytes is not None:
            over.append(log2(size / self.max_bytes) if self.max_bytes else inf)
        if self.max_ms is not None and ms is not None:
            over.append(log2(ms / self.max_ms) if self.max_ms else inf)
        return sum(max(0.0, part) for part in over)

    def rank(self, drop: float, size: float, ms: float | None) -> tuple[float, float]:
        """Return what sorts models by the goal, the best first; ties by what comes next."""
        cost = float(size) if self.cost == "bytes" or ms is None else ms
        return (drop, cost) if self.best == "accuracy" else (cost, drop)

    def to_dict(self) -> dict[str, Any]:
        """Return the budget as a dictionary fit for JSON."""
        return asdict(self)

    def __str__(self) -> str:
        unit = "point" if self.max_drop == 1 else "points"
        words = {"max_drop": f"lose at most {{:g}} {unit}", "max_bytes": "at most {:,.0f} bytes"}
        limits = [words.get(key, "at most {:g} ms").format(value) for key, value in self.limits.items()]
        return "; ".join([", ".join(limits), _WORDS[self.best]])


def _clause(clause: str, text: str) -> tuple[str, Any]:
    """Return which attribute one clause sets, and to what."""
    if clause in _GOALS:
        return "best", _GOALS[clause]
    if match := _LIMIT.fullmatch(clause):
        if match["unit"] not in _UNITS:
            raise unknown("unit", match["unit"], _UNITS)
        key, factor = _UNITS[match["unit"]]
        if (key == "max_drop") != bool(match["lose"]):
            raise ArgumentError(
                f"{clause!r}: what may be lost is 'lose at most 0.5 points'; bytes and ms are 'at most 50 kB'"
            )
        return key, float(match["number"].replace(",", "")) * factor
    hint = nearest(clause, _GOALS)
    raise ArgumentError(
        f"cannot read {clause!r} in the budget {text!r}{hint or '.'} Expected such as {_EXAMPLES}."
    )
