"""What a net would measure after structured pruning, without building it: fast enough to follow a slider."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any

from kit.compression.pruning import structured
from kit.compression.pruning.report import measure
from kit.data import as_dataset
from kit.errors import ModelError
from kit.measurement import size
from kit.variant import as_variant

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import nn

    from kit.variant import Variant


@dataclass(frozen=True)
class Expected:
    """The sizes of a net that was not built.

    Attributes:
        parameters, macs: counts; MACs are for one sample.
        bytes: of its safetensors file, but for a few bytes of the header.
        widths: the channels that each group keeps.
        ratios: the fraction that each group loses: what was asked for, rounded to whole channels.
    """

    parameters: int
    macs: int
    bytes: int
    widths: dict[str, int]
    ratios: dict[str, float]


class Outlook:
    """The sizes of a net as a function of its widths.

    Each dimension of each tensor shrinks in proportion to the channels that its groups lose. In which
    proportion is seen once, by taking some channels from one group at a time.

    Args:
        model: a module, or a variant of one; not changed.
        data: gives the shape of a sample.
        protect: as in `kit.prune`.

    Attributes:
        groups: the layers that may shrink, those with coupled channels as one.

    Raises:
        ModelError: when the net cannot be traced, or has no layer that may shrink.

    Example:
        >>> Outlook(dense, data).at(0.5).parameters  # doctest: +SKIP
    """

    def __init__(self, model: nn.Module | Variant, data: Any, *, protect: Sequence[str] = ()) -> None:
        data = as_dataset(data)
        variant = as_variant(model, data.signature)
        module = variant.module
        example = data.train.inputs[:2].to(next(module.parameters()).device)
        found = structured.coupled(module, example, protect=protect)
        self.groups = tuple(group for group in found if not group.fixed)
        if not self.groups:
            raise ModelError(f"{type(module).__name__} has no layer that may lose channels")
        self._dense = {key: tuple(value.shape) for key, value in module.state_dict().items()}
        self._item = {key: value.element_size() for key, value in module.state_dict().items()}
        self._weights = {key for key, _ in module.named_parameters()}
        self._macs = {layer.name: layer.macs for layer in measure(module, variant.signature).layers}
        self._header = size.bytes_on_disk(module) - sum(
            prod(s) * self._item[k] for k, s in self._dense.items()
        )
        self._loss = {group.name: self._slope(module, example, group) for group in self.groups}

    def at(self, ratio: float | Mapping[str, float], *, round_to: int = 8) -> Expected:
        """Return what a net pruned by `ratio` would measure; arguments as in `kit.prune`."""
        widths = structured.widths(self.groups, ratio, round_to=round_to)
        gone = {group.name: group.channels - widths[group.name] for group in self.groups}
        counts = {key: prod(self._shape(key, gone)) for key in self._dense}
        kept = {
            name: counts[f"{name}.weight"] / prod(self._dense[f"{name}.weight"]) for name in self._layers()
        }
        return Expected(
            parameters=sum(counts[key] for key in self._weights),
            macs=round(sum(count * kept.get(name, 1.0) for name, count in self._macs.items())),
            bytes=self._header + sum(count * self._item[key] for key, count in counts.items()),
            widths=widths,
            ratios={group.name: gone[group.name] / group.channels for group in self.groups},
        )

    def _layers(self) -> list[str]:
        return [name for name in self._macs if f"{name}.weight" in self._dense]

    def _shape(self, key: str, gone: Mapping[str, int]) -> list[int]:
        """Return the shape of a tensor when groups have lost channels."""
        losses = [(self._loss[name].get(key), count) for name, count in gone.items() if count]
        return [
            round(full - sum(loss[axis] * count for loss, count in losses if loss))
            for axis, full in enumerate(self._dense[key])
        ]

    def _slope(
        self, module: nn.Module, example: Any, group: structured.Coupled
    ) -> dict[str, tuple[float, ...]]:
        """Return by how much each dimension of each tensor shrinks for one channel of a group."""
        keep = structured.widths([group], 0.5, round_to=1)
        lost = group.channels - keep[group.name]
        if lost == 0:
            return {}
        slim = structured.shrink(module, example, keep).state_dict()
        return {
            key: tuple((full - less) / lost for full, less in zip(shape, slim[key].shape, strict=True))
            for key, shape in self._dense.items()
            if tuple(slim[key].shape) != shape
        }
