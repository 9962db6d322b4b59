"""Who is hopeful after the screening, who wins in the end, and what is said of the others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kit.compression.runtimes.choice import Tried
from kit.errors import ModelError
from kit.measurement.timing import paired_ratio

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kit.compression.runtimes.ways import Way
    from kit.measurement.evaluate import Agreement
    from kit.measurement.results import Benchmark
    from kit.variant import Variant

_FINALISTS = 5
_HOPEFUL = 1.4  # who takes longer than this times the fastest in the screening is out
_AS_FAST = 1.02  # a difference below this is not worth other answers
_GENTLE = ("fp32", "fp16", "bf16", "int8", "int8 + bf16")  # the first changes answers least


@dataclass(frozen=True)
class Entry:
    """A candidate that was built.

    Attributes:
        way: which form of the model, and how it is run.
        variant: the model that is run in that way.
        change: what became of answers and accuracy.
        objection: why it may not win, or nothing.
        opening: seconds to open and compare it.
        glance: ms a call in the screening.
    """

    way: Way
    variant: Variant
    change: Agreement
    objection: str
    opening: float
    glance: float = 0.0

    @property
    def name(self) -> str:
        """The name of the way."""
        return self.way.name

    @property
    def severity(self) -> int:
        """How much its precision takes from the answers: a rank."""
        precision = self.way.execution.precision or "fp32"
        if self.way.form.startswith("int8"):
            return _GENTLE.index("int8 + bf16" if precision == "bf16" else "int8")
        return _GENTLE.index("fp16" if self.way.form == "fp16" else precision)

    def tried(self, verdict: str, why: str, timed: Benchmark | None = None) -> Tried:
        """Return what the report keeps of it."""
        timing = timed[self.name] if timed else None
        return Tried(
            self.name,
            self.way.form,
            self.way.execution,
            verdict,
            why,
            self.change,
            self.glance,
            timing.latency if timing else None,
            timing.speedup if timing else None,
        )


def hopeful(racing: Sequence[Entry]) -> list[Entry]:
    """Return those that may win and were about as fast as the fastest of them, fastest first.

    Raises:
        ModelError: when none may win.
    """
    fit = sorted((entry for entry in racing if not entry.objection), key=lambda entry: entry.glance)
    if not fit:
        listed = "; ".join(f"{entry.name}: {entry.objection}" for entry in racing)
        raise ModelError(f"no candidate answers as the given model does: {listed}")
    return [entry for entry in fit if entry.glance <= _HOPEFUL * fit[0].glance][:_FINALISTS]


def gentlest(finalists: Sequence[Entry], timed: Benchmark) -> Entry:
    """Return the fastest, or of several that are as fast the one that changes answers least.

    Among equals in that, too, the one with fewer threads leaves more of the machine to others.
    """
    best = min(finalists, key=lambda entry: timed[entry.name].ratio.value)
    reference = timed[best.name].times
    close = [e for e in finalists if paired_ratio(timed[e.name].times, reference).value <= _AS_FAST]
    return min(close, key=lambda entry: (entry.severity, entry.way.execution.threads or 0))


def verdicts(racing: Sequence[Entry], timed: Benchmark, chosen: Entry) -> list[Tried]:
    """Say what became of each: those of the final measurement first, then by speed in the screening."""
    final = {timing.name: timing for timing in timed.timings if timing.role == "model"}
    ratio = {entry.name: final[entry.name].ratio.value for entry in racing if entry.name in final}
    quickest = min((e for e in racing if e.name in ratio and not e.objection), key=lambda e: ratio[e.name])
    result = []
    for entry in sorted(racing, key=lambda e: (e.name not in ratio, ratio.get(e.name, e.glance))):
        part = timed if entry.name in final else None
        if entry.objection:
            result.append(entry.tried("inaccurate", entry.objection, part))
        elif entry is chosen:
            why = "it is the fastest that answers as the given model does"
            if entry is not quickest:
                why = f"it is as fast as {quickest.name} and changes the answers less, or takes fewer threads"
            result.append(entry.tried("chosen", why, part))
        elif part is None:
            why = f"{entry.glance / chosen.glance:.2f}× as long as the chosen one in the screening"
            result.append(entry.tried("screened out", why))
        else:
            behind = paired_ratio(final[entry.name].times, final[chosen.name].times)
            said = "slower" if behind.low > 1 else "as fast"
            why = f"{behind.value:.2f}× [{behind.low:.2f}, {behind.high:.2f}] as long as the chosen one"
            result.append(entry.tried(said, why, part))
    return result
