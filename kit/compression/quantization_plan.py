"""What `quantize` decides before it writes anything: the bytes' layout, and what stays in float32."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kit.compression import integer, weight_only
from kit.compression.onnx_layers import select
from kit.errors import ArgumentError, ModelError, unknown

if TYPE_CHECKING:
    from collections.abc import Collection

    from kit.compression.onnx_layers import Layer

_IN_FLOAT32 = "the arithmetic stays in float32 on a processor: a smaller file, not a faster one"
_ON_OPENVINO = "computes in bf16 on OpenVINO; ONNX Runtime would widen the weights and compute in float32"
_BY_BATCH = "ranges are those of the whole batch: answers depend slightly on what is asked together"
_OVERFLOW = "weights have 7 bits: without VNNI, sums of byte products could overflow 16 bits"


@dataclass(frozen=True)
class Plan:
    """How a model will be quantized.

    Attributes:
        scheme, method, per_channel: as asked for.
        layout: signed or unsigned activations, with or without zero point.
        reduce_range: whether weights get 7 bits.
        excluded: the names of the layers that stay in float32.
        notes: what the report should say about these decisions.
    """

    scheme: str
    layout: integer.Layout
    method: str
    per_channel: bool
    reduce_range: bool
    excluded: frozenset[str]
    notes: tuple[str, ...]

    @property
    def format(self) -> str:
        """How numbers are stored, such as "U8S8 per channel"."""
        if self.scheme == "static":
            scale = "per channel" if self.per_channel else "per tensor"
            return f"{self.layout.name} {scale}{', 7-bit weights' if self.reduce_range else ''}"
        return {
            "dynamic": "U8S8 per channel, matrix products only",
            "weights8": "int8 weights per channel",
            "weights4": f"int4 weights in blocks of up to {weight_only.BLOCK}",
            "fp16": "fp16",
            "bf16": "bf16",
        }[self.scheme]


def decide(
    found: Collection[Layer],
    *,
    scheme: str,
    target: str,
    method: str,
    per_channel: bool,
    reduce_range: bool | str,
    exclude: Collection[str] | str,
) -> Plan:
    """Settle what "auto" means for this model and target.

    Raises:
        ArgumentError: when a name in `exclude` is no layer, or the scheme cannot leave layers out.
        ModelError: when no layer is left to quantize.
    """
    chosen = integer.host() if target == "auto" else target
    layout, notes = integer.LAYOUTS[chosen], []
    excluded = _excluded(found, scheme, layout, exclude)
    if len(excluded) == len(found):
        raise ModelError("every layer stays in float32, so there is nothing to quantize; give exclude=()")
    if excluded and scheme not in {"static", "dynamic", "weights8", "weights4"}:
        raise ArgumentError(f"{scheme} converts the whole file; exclude= belongs to the integer schemes")
    if excluded and exclude == "auto":
        notes.append(f"left in float32, where it is faster: {', '.join(sorted(excluded))}")
    if scheme in {"weights8", "weights4", "fp16"}:
        notes.append(_IN_FLOAT32)
    if scheme == "bf16":
        notes.append(_ON_OPENVINO)
    if scheme == "dynamic":
        notes.append(_BY_BATCH)
    reduced = integer.saturates(chosen) if reduce_range == "auto" else bool(reduce_range)
    if scheme == "static" and reduced:
        notes.append(_OVERFLOW)
    return Plan(scheme, layout, method, per_channel, reduced, frozenset(excluded), tuple(notes))


def _excluded(
    found: Collection[Layer], scheme: str, layout: integer.Layout, exclude: Collection[str] | str
) -> set[str]:
    if exclude == "auto":
        return integer.narrow(found) if scheme == "static" and layout.narrow_in_float else set()
    names = [exclude] if isinstance(exclude, str) else exclude
    try:
        return select(found, names)
    except KeyError as error:
        raise unknown("layer", error.args[0], [layer.name for layer in found]) from None
