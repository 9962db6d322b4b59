"""Models to choose from in a panel: one's own, or the reference nets that fit the data."""

from __future__ import annotations

import inspect
from functools import partial
from typing import TYPE_CHECKING, Any

from kit import models as nets
from kit.errors import ArgumentError
from kit.variant import as_variant

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from torch import nn

    from kit.variant import Signature, Variant

_REFERENCE = (nets.convnet, nets.mobilenet, nets.lenet5, nets.lenet_300_100)


def choices(
    models: Mapping[str, nn.Module | Variant] | None, signature: Signature
) -> dict[str, tuple[str, Callable[[], Any]]]:
    """Return by name how each model is written in code, and what makes it.

    Args:
        models: what to choose from, by name; None takes the nets of `kit.models` that fit the data.
        signature: of the data.

    Raises:
        ArgumentError: when there is nothing to choose from.
    """
    if models is not None:
        if not models:
            raise ArgumentError("models= is empty; give at least one, or leave it out")
        named = {name: as_variant(model, signature).renamed(name) for name, model in models.items()}
        return {name: (name, partial(_same, model)) for name, model in named.items()}
    found: dict[str, tuple[str, Callable[[], Any]]] = {}
    for factory in _REFERENCE:
        given = _arguments(factory, signature)
        if given is not None:
            text = ", ".join(f"{key}={value}" for key, value in given.items())
            found[factory.__name__] = (f"kit.models.{factory.__name__}({text})", partial(factory, **given))
    if not found:
        raise ArgumentError(
            f"no net of kit.models takes inputs of shape {signature.shape} and gives {signature.outputs} "
            'outputs; give your own: models={"mine": net}'
        )
    return found


def _same(model: Any) -> Any:
    return model


def _arguments(factory: Callable[..., nn.Module], signature: Signature) -> dict[str, int] | None:
    """Return what differs from a factory's defaults, or None when it cannot make a net for this data."""
    wanted = {"classes": signature.outputs, "channels": signature.shape[0]}
    takes = inspect.signature(factory).parameters
    fixed = "channels" not in takes
    if len(signature.shape) != 3 or (fixed and signature.shape != (1, 28, 28)):
        return None
    return {key: value for key, value in wanted.items() if key in takes and takes[key].default != value}
