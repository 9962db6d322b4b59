"""How a module is rebuilt without pickle: a factory's name, its arguments, and the weights' own shapes."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import wraps
from typing import TYPE_CHECKING, Any, ParamSpec

from torch import nn

from kit.errors import ModelError, unknown

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import torch

P = ParamSpec("P")

_FACTORIES: dict[str, Callable[..., nn.Module]] = {}


@dataclass(frozen=True)
class Architecture:
    """The factory in `kit.models` and the keyword arguments that make a module."""

    factory: str
    arguments: Mapping[str, Any] = field(default_factory=dict)


def architecture(factory: Callable[P, nn.Module]) -> Callable[P, nn.Module]:
    """Register a factory with keyword-only arguments; the modules it makes remember how they were made."""

    @wraps(factory)
    def make(*args: P.args, **kwargs: P.kwargs) -> nn.Module:
        module = factory(*args, **kwargs)
        module.architecture = Architecture(factory.__name__, kwargs)  # type: ignore[assignment]
        return module

    _FACTORIES[factory.__name__] = make
    return make


def factories() -> Mapping[str, Callable[..., nn.Module]]:
    """Return every factory by its name: the models that may be asked for by name."""
    return dict(_FACTORIES)


def architecture_of(module: nn.Module) -> Architecture | None:
    """Return how a module was made, or None when no factory of `kit.models` made it."""
    found = module.__dict__.get("architecture")
    return found if isinstance(found, Architecture) else None


def build(made: Architecture) -> nn.Module:
    """Make a fresh module of an architecture.

    Raises:
        ArgumentError: when `kit.models` has no such factory.
    """
    if made.factory not in _FACTORIES:
        raise unknown("architecture", made.factory, _FACTORIES)
    arguments = {k: tuple(v) if isinstance(v, list) else v for k, v in made.arguments.items()}
    return _FACTORIES[made.factory](**arguments)


def fit_to_weights(module: nn.Module, weights: Mapping[str, torch.Tensor]) -> nn.Module:
    """Give each layer the width that its weights have, then load them: a pruned net of the same plan.

    Args:
        module: a net of the same architecture, changed in place and returned.
        weights: a state dict, whose shapes may be smaller.

    Raises:
        ModelError: when names are missing or left over, or a layer cannot take the shape.
    """
    expected = set(module.state_dict())
    if expected != set(weights):
        missing, extra = sorted(expected - set(weights)), sorted(set(weights) - expected)
        raise ModelError(
            f"the weights do not fit the architecture: missing {missing[:3]}, unexpected {extra[:3]}"
        )
    for name, layer in module.named_modules():
        for key, parameter in list(layer.named_parameters(recurse=False)):
            shape = weights[f"{name}.{key}" if name else key].shape
            if parameter.shape != shape:
                parameter.data = parameter.data.new_empty(shape)
        for key, buffer in list(layer.named_buffers(recurse=False)):
            full = f"{name}.{key}" if name else key
            if full in weights and buffer.shape != weights[full].shape:
                setattr(layer, key, buffer.new_empty(weights[full].shape))
        _set_width(layer)
    module.load_state_dict(dict(weights))
    return module


def _set_width(layer: nn.Module) -> None:
    """Make a layer's own numbers agree with the shape of its weight."""
    if isinstance(layer, nn.modules.conv._ConvNd) and not layer.transposed:  # noqa: SLF001 -- torch has no public name for it
        out, per_group = layer.weight.shape[:2]
        if per_group == 1 and layer.groups > 1:
            layer.groups = out
        layer.out_channels, layer.in_channels = out, per_group * layer.groups
    elif isinstance(layer, nn.Linear):
        layer.out_features, layer.in_features = layer.weight.shape
    elif isinstance(layer, nn.modules.batchnorm._BatchNorm) and layer.running_mean is not None:  # noqa: SLF001
        layer.num_features = len(layer.running_mean)
