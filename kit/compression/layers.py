"""The layers that hold a net's weights, by name."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from torch import nn

from kit.errors import ModelError, unknown

if TYPE_CHECKING:
    from collections.abc import Collection

Convolution: TypeAlias = nn.modules.conv._ConvNd  # noqa: SLF001 -- torch has no public name for it
Layer: TypeAlias = Convolution | nn.Linear


def weighted(module: nn.Module) -> dict[str, Layer]:
    """Return the convolutions and linear layers of a net, in its order.

    Raises:
        ModelError: when a weight is computed from others, so that it cannot be changed itself.

    >>> list(weighted(nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1))))
    ['0', '2']
    """
    found = {name: layer for name, layer in module.named_modules() if isinstance(layer, Layer)}
    for name, layer in found.items():
        if not isinstance(layer.weight, nn.Parameter):
            raise ModelError(
                f"the weight of layer {name!r} is computed (a torch mask, weight norm, a parametrization); "
                "make it permanent first: torch.nn.utils.prune.remove, or parametrize.remove_parametrizations"
            )
    return found


def within(layer: str, names: Collection[str]) -> bool:
    """Tell whether a layer is one of the named modules, or lies in one.

    >>> within("4.body.0", ["4"]), within("40", ["4"])
    (True, False)
    """
    return any(layer == name or layer.startswith(f"{name}.") for name in names)


def check_names(module: nn.Module, names: Collection[str]) -> None:
    """Raise ArgumentError, with the nearest layers, for a name that no module has."""
    known = dict(module.named_modules())
    for name in names:
        if not name or name not in known:
            raise unknown("layer", name, weighted(module))
