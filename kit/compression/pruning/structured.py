"""Structured pruning: channels leave with all that is coupled to them, and the net really shrinks."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from math import floor, lcm
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from kit.compression.layers import Convolution, Layer, check_names, weighted, within
from kit.errors import ArgumentError, ModelError, unknown

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence


@dataclass(frozen=True)
class Coupled:
    """Layers whose output channels can only leave together.

    A shortcut couples the two layers that it adds, a depthwise convolution is coupled to what feeds it.

    Attributes:
        name: the first of these layers in the net.
        layers: the names of all of them.
        channels: how many output channels they have.
        blocks: how many equal blocks the channels form (grouped convolution, group norm); mostly 1.
        fixed: why they must keep their width; empty when they may shrink.
    """

    name: str
    layers: tuple[str, ...]
    channels: int
    blocks: int = 1
    fixed: str = ""


def coupled(module: nn.Module, example: torch.Tensor, *, protect: Collection[str] = ()) -> list[Coupled]:
    """Find which channels of a net must leave together, in the order of the net.

    What gives the outputs keeps its width, and so does every layer without which the net no longer runs,
    such as one before a `view` with the old size written into it: all is tried on a copy.

    Args:
        module: any net of convolutions and linear layers; not changed.
        example: inputs (N, *shape) with N of at least 2, on the module's device.
        protect: names of layers, or of modules that contain them, that must keep their width.

    Raises:
        ArgumentError: when a name in `protect` does not exist.
        ModelError: when the net cannot be traced.

    Source: G. Fang et al., "DepGraph: Towards Any Structural Pruning", arXiv:2301.12900.

    >>> net = nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(288, 10))
    >>> [(group.name, group.channels, group.fixed) for group in coupled(net, torch.rand(2, 1, 8, 8))]
    [('0', 8, ''), ('3', 10, 'gives the outputs')]
    """
    check_names(module, protect)
    weighted(module)
    _, traced = _trace(module, example)
    groups = [_protected(group, protect) for group, _ in traced]
    free = [group for group in groups if not group.fixed]
    if _runs(module, example, free):
        return groups
    broken = {group.name for group in free if not _runs(module, example, [group])}
    return [replace(g, fixed="the net breaks without it") if g.name in broken else g for g in groups]


def widths(
    groups: Sequence[Coupled], ratio: float | Mapping[str, float], *, round_to: int = 8
) -> dict[str, int]:
    """Return how many channels each group that may shrink keeps.

    Args:
        groups: what `coupled` found.
        ratio: the fraction of channels to remove, or fractions by layer name; layers not named stay whole.
        round_to: channels are kept in the nearest multiple of this, and never fewer. On a processor with
            AVX-512 ONNX Runtime took 116 µs for six 3×3 convolutions of 24 channels, 226 µs for 26.

    Raises:
        ArgumentError: when a layer does not exist, must not shrink, or gets two ratios through its group.
    """
    free = [group for group in groups if not group.fixed]
    ratios = dict.fromkeys((group.name for group in free), ratio) if isinstance(ratio, float | int) else {}
    if not isinstance(ratio, float | int):
        ratios = _by_group(groups, ratio)
    return {group.name: _kept(group, ratios.get(group.name, 0.0), round_to) for group in free}


def shrink(module: nn.Module, example: torch.Tensor, keep: Mapping[str, int]) -> nn.Module:
    """Return a smaller copy in which each named group keeps its channels of largest norm.

    Args:
        module: the net; not changed.
        example: inputs (N, *shape) with N of at least 2, on the module's device.
        keep: how many channels to keep, by the name of the group; other groups stay whole.

    Raises:
        ModelError: when the smaller net no longer runs or gives another shape.
    """
    slim, traced = _trace(module, example)
    chosen = [(raw, _weakest(group, raw, keep[group.name])) for group, raw in traced if group.name in keep]
    for raw, indices in chosen:
        if indices:
            raw.prune(indices)
    for old, new in zip(module.parameters(), slim.parameters(), strict=True):
        new.requires_grad_(old.requires_grad)
    for name, layer in slim.named_modules():
        layer.train(module.get_submodule(name).training)
    _check(module, slim, example)
    return slim


def _trace(module: nn.Module, example: torch.Tensor) -> tuple[nn.Module, list[tuple[Coupled, Any]]]:
    """Return a copy of the net and its groups, each with Torch-Pruning's own handle on the copy."""
    import torch_pruning

    clone = copy.deepcopy(module).requires_grad_()  # the graph is read from autograd
    names = {layer: name for name, layer in clone.named_modules()}
    graph = torch_pruning.DependencyGraph()
    try:
        with torch.enable_grad():
            # In a tuple: a bare batch would be unpacked into its samples first.
            graph.build_dependency(clone, example_inputs=(example,))
            handles = list(graph.get_all_groups(root_module_types=[Convolution, nn.Linear]))
    except Exception as error:  # a net may break in any way while it is traced
        raise ModelError(
            f"{type(module).__name__} cannot be traced for pruning: {_first_line(error)}"
        ) from error
    if not handles and any(isinstance(layer, Layer) for layer in names):
        raise ModelError(
            f"{type(module).__name__} cannot be traced for pruning: no gradient leads from outputs to layers"
        )
    order = {name: i for i, name in enumerate(names.values())}
    found = [(_describe(graph, handle, names, order), handle) for handle in handles]
    return clone, sorted(found, key=lambda pair: order[pair[0].name])


def _describe(graph: Any, handle: Any, names: Mapping[Any, str], order: Mapping[str, int]) -> Coupled:
    shrinking = [dep.target for dep, _ in handle if graph.is_out_channel_pruning_fn(dep.handler)]
    layers = [node.module for node in shrinking if isinstance(node.module, Layer)]
    blocks = 1
    for dep, _ in handle:
        layer = dep.target.module
        if isinstance(layer, nn.GroupNorm):
            blocks = lcm(blocks, layer.num_groups)
        elif isinstance(layer, Convolution) and layer.groups < layer.out_channels:  # not depthwise
            blocks = lcm(blocks, layer.groups)
    ordered = sorted((names[layer] for layer in layers), key=order.__getitem__)
    fixed = "gives the outputs" if any(not node.outputs for node in shrinking) else ""
    return Coupled(ordered[0], tuple(ordered), len(handle[0].idxs), blocks, fixed)


def _protected(group: Coupled, protect: Collection[str]) -> Coupled:
    asked = any(within(layer, protect) for layer in group.layers)
    return replace(group, fixed="protected") if asked and not group.fixed else group


def _runs(module: nn.Module, example: torch.Tensor, groups: Sequence[Coupled]) -> bool:
    try:
        shrink(module, example, {g.name: _kept(g, 0.5, 1) for g in groups})
    except ModelError:
        return False
    return True


def _by_group(groups: Sequence[Coupled], ratios: Mapping[str, float]) -> dict[str, float]:
    owner = {layer: group for group in groups for layer in group.layers}
    found: dict[str, tuple[float, str]] = {}
    for layer, ratio in ratios.items():
        if layer not in owner:
            raise unknown("layer", layer, owner)
        group = owner[layer]
        if group.fixed and ratio > 0:
            raise ArgumentError(
                f"layer {layer!r} must keep its width ({group.fixed}); leave it out of ratio="
            )
        other, first = found.setdefault(group.name, (ratio, layer))
        if other != ratio:
            raise ArgumentError(
                f"layers {first!r} and {layer!r} share their channels (one is added to the other or feeds it "
                f"depthwise), but ratio= gives them {other:g} and {ratio:g}; name one of them"
            )
    return {name: ratio for name, (ratio, _) in found.items()}


def _kept(group: Coupled, ratio: float, round_to: int) -> int:
    if ratio == 0:
        return group.channels
    unit = lcm(group.blocks, round_to)
    nearest = floor(group.channels * (1 - ratio) / unit + 0.5) * unit
    return min(max(nearest, unit), group.channels)


def _weakest(group: Coupled, handle: Any, keep: int) -> list[int]:
    """Return the channels of least norm over all coupled weights, the same ones in each block."""
    import torch_pruning

    norms = torch_pruning.importance.GroupMagnitudeImportance(p=2, normalizer=None)(handle)
    per_block = norms.view(group.blocks, -1).mean(dim=0)
    size = len(per_block)
    weakest = torch.argsort(per_block, stable=True)[: size - keep // group.blocks].tolist()
    return sorted(block * size + index for block in range(group.blocks) for index in weakest)


@torch.no_grad()
def _check(module: nn.Module, slim: nn.Module, example: torch.Tensor) -> None:
    """Run both on the example (in evaluation mode, on copies, so that no statistics move)."""
    expected = copy.deepcopy(module).eval()(example).shape
    try:
        found = copy.deepcopy(slim).eval()(example).shape
    except Exception as error:
        raise ModelError(
            f"{type(module).__name__} no longer runs with fewer channels: {_first_line(error)}; "
            "name the layer that must keep its width in protect="
        ) from error
    if found != expected:
        raise ModelError(
            f"{type(module).__name__} with fewer channels gives outputs of shape {tuple(found)} instead of "
            f"{tuple(expected)}; name the layer that must keep its width in protect="
        )


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n", 1)[0] or type(error).__name__
