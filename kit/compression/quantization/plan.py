"""What `quantize` decides before it writes anything: the bytes' layout, and what stays in float32."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kit.compression.quantization import integer, weight_only
from kit.compression.quantization.onnx_layers import select
from kit.errors import ArgumentError, ModelError, unknown

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from kit.compression.quantization.onnx_layers import Layer

_IN_FLOAT32 = "the arithmetic stays in float32 on a processor: a smaller file, not a faster one"
_ON_OPENVINO = "computes in bf16 on OpenVINO; ONNX Runtime would widen the weights and compute in float32"
_BY_BATCH = "ranges are those of the whole batch: answers depend slightly on what is asked together"
_OVERFLOW = "weights have 7 bits: without VNNI, sums of byte products could overflow 16 bits"

WEIGHTS = ("weights8", "weights4", "mixed")  # the schemes that round weights alone


@dataclass(frozen=True)
class Plan:
    """How a model will be quantized.

    Attributes:
        scheme, method, per_channel: as asked for.
        layout: signed or unsigned activations, with or without zero point.
        reduce_range: whether weights get 7 bits.
        excluded: the names of the layers that stay in float32.
        forms: how weights are stored, by layer, in the schemes that round weights alone.
        notes: what the report should say about these decisions.
    """

    scheme: str
    layout: integer.Layout
    method: str
    per_channel: bool
    reduce_range: bool
    excluded: frozenset[str]
    forms: Mapping[str, weight_only.Form]
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
            "weights4": self._blocks("int4 weights"),
            "mixed": self._blocks("weights of 4, 8 or 32 bits, int4"),
            "fp16": "fp16",
            "bf16": "bf16",
        }[self.scheme]

    def _blocks(self, what: str) -> str:
        sizes = [form.block for form in self.forms.values() if form.bits == 4]
        return f"{what} in blocks of up to {max(sizes)}" if sizes else what

    def bits(self, found: Collection[Layer]) -> dict[str, int]:
        """Return what stores each layer's weights, by name; 32 bits for those that are not named."""
        if self.scheme in WEIGHTS:
            return {name: form.bits for name, form in self.forms.items()}
        names = [layer.name for layer in found if layer.name not in self.excluded]
        if self.scheme == "static":
            return dict.fromkeys(names, 7 if self.reduce_range else 8)
        if self.scheme == "dynamic":
            return {layer.name: 8 for layer in found if layer.operator != "Conv" and layer.name in names}
        return dict.fromkeys(names, 16)


def decide(
    found: Collection[Layer],
    *,
    scheme: str,
    target: str,
    method: str,
    per_channel: bool,
    reduce_range: bool | str,
    exclude: Collection[str] | str,
    bits: Mapping[str, int] | None = None,
    block: int | None = weight_only.BLOCK,
) -> Plan:
    """Settle what "auto" means for this model and target.

    Args:
        found: the layers.
        scheme, target, method, per_channel, reduce_range, exclude, bits, block: as in `kit.quantize`.

    Raises:
        ArgumentError: when a name in `exclude` or `bits` is no layer, or the scheme cannot leave layers out.
        ModelError: when no layer is left to quantize.
    """
    chosen = integer.host() if target == "auto" else target
    layout, notes = integer.LAYOUTS[chosen], []
    excluded = _excluded(found, scheme, layout, exclude)
    if len(excluded) == len(found):
        raise ModelError("every layer stays in float32, so there is nothing to quantize; give exclude=()")
    if excluded and scheme not in {"static", "dynamic", *WEIGHTS}:
        raise ArgumentError(f"{scheme} converts the whole file; exclude= belongs to the integer schemes")
    if excluded and exclude == "auto":
        notes.append(f"left in float32, where it is faster: {', '.join(sorted(excluded))}")
    if scheme in {*WEIGHTS, "fp16"}:
        notes.append(_IN_FLOAT32)
    if scheme == "bf16":
        notes.append(_ON_OPENVINO)
    if scheme == "dynamic":
        notes.append(_BY_BATCH)
    reduced = integer.saturates(chosen) if reduce_range == "auto" else bool(reduce_range)
    if scheme == "static" and reduced:
        notes.append(_OVERFLOW)
    rest = [layer for layer in found if layer.name not in excluded]
    forms = weight_only.forms(rest, _bits(found, scheme, bits), block=block) if scheme in WEIGHTS else {}
    if scheme in WEIGHTS and not forms:
        raise ModelError("every layer keeps 32 bits, so there is nothing to quantize")
    return Plan(scheme, layout, method, per_channel, reduced, frozenset(excluded), forms, tuple(notes))


def _bits(found: Collection[Layer], scheme: str, bits: Mapping[str, int] | None) -> int | Mapping[str, int]:
    """Return the bits of all layers, or those of each."""
    if scheme != "mixed":
        return int(scheme[-1])
    names, chosen = {layer.name for layer in found}, bits or {}
    for name, value in chosen.items():
        if name not in names:
            raise unknown("layer", name, names)
        if value not in {4, 8, 32}:
            raise ArgumentError(f"a layer's weights have 4, 8 or 32 bits, got {value!r} for {name!r}")
    return chosen


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


def check_mixed(scheme: str, bits: Mapping[str, int] | None, budget: int | None, block: int | None) -> None:
    """Raise ArgumentError unless mixed bits, and they alone, are said in one of two ways."""
    if scheme == "mixed" and (bits is None) == (budget is None):
        raise ArgumentError("scheme 'mixed' takes bits= by layer, or budget= in bytes, and not both")
    if scheme != "mixed" and (bits is not None or budget is not None):
        raise ArgumentError(f"bits= and budget= belong to scheme 'mixed', not to {scheme!r}")
    if block is not None and (block < 16 or block & (block - 1)):
        raise ArgumentError(f"block must be 16, 32, 64 and so on, or None for whole outputs, got {block!r}")
