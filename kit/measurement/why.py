"""Why a step brought what it brought, or nothing: one-line reasons in plain words."""

from __future__ import annotations

import platform
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from kit import device as hardware

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kit.measurement.traits import Traits
    from kit.statistics import Measurement

_NOTABLE = 1.1  # factors below this are not worth a word
_SMALL = "smaller layers keep vector units, caches and threads less busy than large ones do"
_SUBNORMAL = 1e-3  # a thousandth of all numbers, each a hundred times slower, costs a tenth of the time
_BALANCE = 1.0  # MACs a byte; a core with AVX-512 does 0.7 while it fetches one from its L2 cache
_SHARED = 1.2  # threads that bring the first this much more are worth a word
_X86 = {"x86_64", "amd64", "i386", "i686"}


@dataclass(frozen=True)
class Facts:
    """What the reasons are drawn from.

    Attributes:
        bytes: on disk.
        zipped: bytes after gzip, or None when that was not worth finding out.
        parameters, nonzero, macs: counts.
        latency: ms a call at the first batch size.
        overhead: ms that an empty model takes.
        speedup: against the first model.
        verdict: "baseline", "faster", "slower" or "no difference shown".
        batches: the speed-up at each batch size.
        threads: of its session; None or 0 where there are none to count.
        gain: how many times faster it is on these threads than on one; None when not measured.
        runtime: what runs it.
        storage: what stores most weights, such as "float32" or "int8".
        subnormal: the share of subnormal numbers in what its layers read and give.
        traits: how the file computes; None for a module.
    """

    bytes: int
    parameters: int
    nonzero: int
    macs: int
    latency: float
    overhead: float
    speedup: Measurement
    verdict: str
    zipped: int | None = None
    batches: Mapping[int, float] = field(default_factory=dict)
    threads: int | None = None
    gain: float | None = None
    runtime: str = "onnxruntime"
    storage: str = "float32"
    subnormal: float = 0.0
    traits: Traits | None = None

    @property
    def sparsity(self) -> float:
        """The share of weights that are zero."""
        return 1 - self.nonzero / self.parameters if self.parameters else 0.0


def reasons(this: Facts, first: Facts) -> tuple[str, ...]:
    """Explain size and speed of a model against the first one: what changed, and what stands in the way."""
    return (*_size(this, first), *_speed(this, first), *_batches(this))


def _size(this: Facts, first: Facts) -> list[str]:
    lines = []
    causes = [_factor(first.parameters, this.parameters, "parameters")]
    if this.storage != first.storage:
        causes.append(f"{this.storage} weights instead of {first.storage}")
    because = " and ".join(filter(None, causes))
    if text := _factor(first.bytes, this.bytes, "bytes"):
        lines.append(text + (f": {because}" if because else ""))
    if this.sparsity > 0.2:
        zipped = f"; gzip would make it {this.zipped:,} bytes" if this.zipped else ""
        lines.append(f"{this.sparsity:.0%} of the weights are zeros, stored like any other number{zipped}")
    return lines


def _speed(this: Facts, first: Facts) -> list[str]:
    if this.verdict == "baseline":
        return []
    causes = " and ".join(filter(None, [_factor(first.macs, this.macs, "MACs"), _kernels(this)]))
    obstacles, speed = _obstacles(this, first), this.speedup
    on = f" on {this.runtime} instead of {first.runtime}" if this.runtime != first.runtime else ""
    if this.verdict == "faster":
        said = f"{speed.value:.{1 if speed.value >= 1.15 else 2}f}× faster{on}"
        promised = first.macs / this.macs if this.macs else 1.0
        short = speed.value < 0.6 * promised or bool(this.traits and this.traits.unfused)
        held = [f"held back: {text}" for text in obstacles or [_SMALL]] if short else []
        return [said + (f": {causes}" if causes else ""), *held]
    said = f"no faster{on}: the interval [{speed.low:.2f}×, {speed.high:.2f}×] is not clear of 1.0×"
    if this.verdict == "slower":
        said = f"{1 / speed.value:.{1 if speed.value <= 0.87 else 2}f}× slower{on}"
    return [
        said + (f", in spite of {causes}" if causes else ""),
        *(obstacles or [_nothing_found(this, first)]),
    ]


def _kernels(this: Facts) -> str:
    """Name the integer kernels, if any."""
    traits = this.traits
    if traits is None or not traits.integer:
        return ""
    total, support = traits.integer + traits.floating, hardware.accelerates("int8")
    return f"{traits.integer} of {total} layers on int8 kernels" + (f" ({support})" if support else "")


def _obstacles(this: Facts, first: Facts) -> list[str]:
    """List what keeps a model from being faster, strongest first."""
    found = []
    if this.traits:
        found += _integer_obstacles(this.traits)
        found += _format_obstacles(this.traits)
    if this.subnormal > _SUBNORMAL:
        found.append(
            f"{this.subnormal:.1%} of its numbers are subnormal (below 1.2e-38), which are slow: "
            "round them to zero"
        )
    if this.sparsity - first.sparsity > 0.2:
        found.append("dense kernels multiply zeros as well")
    if this.traits and first.traits and this.traits.depthwise - first.traits.depthwise > 0.05:
        share = f"{this.traits.depthwise:.0%}"
        found.append(f"{share} of its MACs are depthwise, which do little arithmetic for each byte they move")
    elif this.traits and 0 < this.traits.intensity < _BALANCE:
        found.append(
            f"memory-bound: {this.traits.intensity:.2g} MACs for each byte that it moves, so fetching "
            "weights takes the time"
        )
    found += _threads(this, first)
    if this.latency and this.overhead / this.latency > 0.2:
        share = f"{min(1.0, this.overhead / this.latency):.0%}"
        found.append(f"{share} of its latency is the call itself, which an empty model takes too")
    return found


def _integer_obstacles(traits: Traits) -> list[str]:
    """Say what stands between quantized layers and integer kernels."""
    if not traits.integer + len(traits.unfused):
        return []
    found = []
    if hardware.accelerates("int8") is None:
        found.append("this processor has no int8 instructions (VNNI, AMX, ARM dot product)")
    if traits.activations == "int8" and platform.machine().lower() in _X86:
        found.append("signed 8-bit activations (S8S8): the x86 kernels of ONNX Runtime want unsigned ones")
    if traits.unfused:
        found.append(
            f"not fused, and so in floating point: {_layers(len(traits.unfused))} that the file quantizes "
            f"({_some(traits.unfused)})"
        )
    if traits.uncovered:
        found.append(f"not covered by this quantization, and so in floating point: {_some(traits.uncovered)}")
    elif traits.floating and not traits.unfused:
        found.append(f"still in floating point: {_layers(traits.floating)}")
    if traits.dynamic:
        found.append("activations are quantized anew in each call")
    return found


def _threads(this: Facts, first: Facts) -> list[str]:
    """Say what threads bring this one and the first."""
    if this.threads and first.threads and this.threads != first.threads:
        return [f"it runs on {_count(this.threads)}, the first on {_count(first.threads)}"]
    if this.gain is None or (this.threads or 1) < 2:
        return []
    if this.gain < 1 / _NOTABLE:
        return [f"{_count(this.threads or 1)} make it {1 / this.gain:.1f}× slower than one: give threads=1"]
    if first.gain is not None and this.gain * _SHARED < first.gain:
        gains = f"{this.gain:.1f}× faster than one, the first {first.gain:.1f}×"
        return [f"{_count(this.threads or 1)} make it {gains}: small layers are not worth sharing out"]
    return []


def _count(threads: int) -> str:
    return f"{threads} thread{'s' * (threads > 1)}"


def _some(names: tuple[str, ...]) -> str:
    """List the first few names and say how many more there are."""
    more = f" and {len(names) - 4} more" if len(names) > 4 else ""
    return ", ".join(names[:4]) + more


def _layers(count: int) -> str:
    return f"{count} layer{'s' * (count != 1)}"


def _format_obstacles(traits: Traits) -> list[str]:
    """Say what weights cost that are not stored as the kernels want them."""
    if traits.packed:
        return [f"the weights of {_layers(traits.packed)} are unpacked to floats in each call"]
    if traits.storage in {"float16", "bfloat16"}:
        return [f"CPU kernels compute {traits.storage} in float32, with casts around them"]
    if traits.storage != "float32" and not traits.integer + len(traits.unfused):
        return ["only the weights are integers: they become floats again before any arithmetic"]
    return []


def _nothing_found(this: Facts, first: Facts) -> str:
    if this.macs < 0.9 * first.macs:
        return _SMALL
    if this.traits == first.traits and this.runtime == first.runtime:
        return "the same arithmetic on the same kernels"
    return "no cause is visible in the file; a profiler may show one"


def _batches(this: Facts) -> list[str]:
    """Name the batch sizes between which the speed-up moves."""
    if len(this.batches) < 2 or this.verdict == "baseline":
        return []
    values = this.batches.values()
    if max(values) / min(values) < 1.3:
        return []
    return ["batch matters: " + ", ".join(f"{speed:.1f}× at {size}" for size, speed in this.batches.items())]


def _factor(before: float, after: float, what: str) -> str:
    """Say by which factor something shrank or grew, or nothing when it hardly did."""
    if before <= 0 or after <= 0 or 1 / _NOTABLE < before / after < _NOTABLE:
        return ""
    return f"{before / after:.1f}× fewer {what}" if before > after else f"{after / before:.1f}× more {what}"
