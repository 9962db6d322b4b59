"""Unstructured pruning: single weights are masked to zero; the shapes, and mostly the speed, stay."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import torch

from kit.compression.layers import check_names, weighted, within
from kit.errors import ArgumentError, ModelError, unknown

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from torch import nn
    from torch.utils.hooks import RemovableHandle

    Masks = dict[str, torch.Tensor]


def weights(module: nn.Module, *, protect: Collection[str] = ()) -> dict[str, torch.Tensor]:
    """Return the weights that may be masked, by layer name: of convolutions and linear layers, no biases.

    Args:
        module: any net.
        protect: names of layers, or of modules that contain them, to leave out.

    Raises:
        ArgumentError: when a name in `protect` does not exist.
        ModelError: when nothing is left to prune.
    """
    check_names(module, protect)
    found = {n: layer.weight.detach() for n, layer in weighted(module).items() if not within(n, protect)}
    if not found:
        outside = " outside protect=" if protect else ""
        raise ModelError(
            f"{type(module).__name__} has nothing to prune: no convolution or linear layer{outside}"
        )
    return found


def magnitude(weight: torch.Tensor) -> torch.Tensor:
    """Score each weight by its absolute value.

    >>> magnitude(torch.tensor([[-2.0, 1.0]])).tolist()
    [[2.0, 1.0]]
    """
    return weight.abs()


def lamp(weight: torch.Tensor) -> torch.Tensor:
    """Score each weight by its square over the sum of all squares in its layer that are not smaller.

    The largest weight of each layer scores 1, so that no layer is ever emptied, and one threshold
    for the whole net gives sane densities for each layer.

    Source: J. Lee et al., "Layer-adaptive sparsity for the magnitude-based pruning", arXiv:2010.07611.

    >>> lamp(torch.tensor([1.0, -2.0, 3.0])).tolist()  # 1/14, 4/13, 9/9
    [0.0714285746216774, 0.3076923191547394, 1.0]
    """
    squares = weight.flatten().double() ** 2
    order = torch.argsort(squares, stable=True)
    ascending = squares[order]
    not_smaller = ascending.flip(0).cumsum(0).flip(0)
    scores = torch.empty_like(squares)
    scores[order] = ascending / not_smaller.clamp_min(torch.finfo(torch.float64).tiny)
    return scores.float().view_as(weight)


def global_masks(
    weights: Mapping[str, torch.Tensor], ratio: float, score: Callable[[torch.Tensor], torch.Tensor]
) -> Masks:
    """Keep the weights of highest score over the whole net.

    Args:
        weights: the weight of each layer.
        ratio: the fraction to mask over all layers together.
        score: such as `magnitude` or `lamp`.
    """
    scores = torch.cat([score(weight).flatten() for weight in weights.values()])
    kept = torch.split(_keep_highest(scores, ratio), [weight.numel() for weight in weights.values()])
    return {name: part.view(weight.shape) for (name, weight), part in zip(weights.items(), kept, strict=True)}


def layer_masks(weights: Mapping[str, torch.Tensor], ratios: Mapping[str, float]) -> Masks:
    """Keep the largest weights of each layer.

    Args:
        weights: the weight of each layer.
        ratios: the fraction to mask in each layer; layers not named stay whole.

    Raises:
        ArgumentError: when a name in `ratios` is no layer of `weights`.
    """
    for name in ratios:
        if name not in weights:
            raise unknown("layer", name, weights)
    return {
        name: _keep_highest(magnitude(weights[name]).flatten(), ratio).view(weights[name].shape)
        for name, ratio in ratios.items()
    }


def n_m_masks(weights: Mapping[str, torch.Tensor], n: int, m: int) -> Masks:
    """Keep the n largest of every m weights that follow each other along the inputs.

    Layers whose number of inputs is no multiple of m stay whole, as they do in NVIDIA's own tool.

    Args:
        weights: the weight (outputs, inputs, …) of each layer.
        n, m: such as 2 and 4, the pattern that NVIDIA's sparse tensor cores run.

    Source: A. Mishra et al., "Accelerating Sparse Deep Neural Networks", arXiv:2104.08378.

    >>> n_m_masks({"layer": torch.tensor([[4.0, 1.0, -3.0, 2.0]])}, 2, 4)["layer"].tolist()
    [[True, False, True, False]]
    """
    masks = {}
    for name, weight in weights.items():
        if weight.shape[1] % m:
            continue
        last = magnitude(weight).movedim(1, -1)
        groups = last.reshape(-1, m)
        kept = torch.zeros_like(groups, dtype=torch.bool)
        kept.scatter_(1, torch.argsort(groups, dim=1, descending=True, stable=True)[:, :n], value=True)
        masks[name] = kept.view(last.shape).movedim(-1, 1).contiguous()
    return masks


def parse_n_m(method: str) -> tuple[int, int] | None:
    """Read a pattern such as "2:4"; None when `method` is no such pattern.

    Raises:
        ArgumentError: when the pattern keeps nothing, or everything.
    """
    found = re.fullmatch(r"(\d+):(\d+)", method)
    if found is None:
        return None
    n, m = int(found[1]), int(found[2])
    if not 0 < n < m:
        raise ArgumentError(f"method {method!r} keeps {n} of {m}; expected n:m with 0 < n < m, such as '2:4'")
    return n, m


@torch.no_grad()
def apply(module: nn.Module, masks: Mapping[str, torch.Tensor]) -> None:
    """Set the masked weights to zero, in place. The net stays plain: masks are no part of it.

    Args:
        module: the net.
        masks: which weights stay, as boolean tensors of the weights' shapes, by layer name.
    """
    for name, mask in masks.items():
        weight: Any = module.get_submodule(name).weight
        weight.mul_(mask.to(weight.device))


def hold(
    optimizer: torch.optim.Optimizer, module: nn.Module, masks: Mapping[str, torch.Tensor]
) -> RemovableHandle:
    """Apply masks now and after every step of an optimizer, until `remove()` is called on what is returned.

    For one's own training loop; `kit.prune` does the same by itself.

    >>> net = torch.nn.Linear(2, 1)
    >>> optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    >>> handle = hold(optimizer, net, {"": torch.tensor([[True, False]])})
    >>> net(torch.ones(1, 2)).sum().backward()
    >>> optimizer.step()
    >>> float(net.weight[0, 1])
    0.0
    >>> handle.remove()
    """
    apply(module, masks)
    return optimizer.register_step_post_hook(lambda *_: apply(module, masks))


def _keep_highest(scores: torch.Tensor, ratio: float) -> torch.Tensor:
    """Return which scores (N,) stay when exactly `ratio` of them, the lowest, leave."""
    kept = torch.ones_like(scores, dtype=torch.bool)
    kept[torch.argsort(scores, stable=True)[: round(ratio * len(scores))]] = False
    return kept
