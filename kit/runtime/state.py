"""State dicts: the weights of a module in a `.pt` file, read without running what else it may hold."""

from __future__ import annotations

import pickle
from copy import deepcopy
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn.utils import parametrize

from kit import files
from kit.errors import ModelError, UnsafeModelError
from kit.models import fit_to_weights
from kit.runtime import gate

if TYPE_CHECKING:
    from pathlib import Path


def write_state(module: nn.Module, path: Path) -> None:
    """Write the weights of a module, masks and other parametrizations applied.

    Raises:
        StorageError: when the file cannot be written.
    """
    weights = {
        key: tensor.detach().contiguous().clone() for key, tensor in plain_copy(module).state_dict().items()
    }
    with files.atomic(path) as temporary:
        torch.save(weights, temporary)


def read_state(path: Path, module: nn.Module) -> nn.Module:
    """Return a copy of `module` with the weights of a `.pt` file, narrower where they are (pruned).

    Raises:
        ModelError: when they do not fit.
        UnsafeModelError: when the file holds anything but weights.
    """
    if (kind := gate.inspect(path)) != "state_dict":
        raise ModelError(f"{path} is of the format {kind!r}, no state dict; open it with kit.open")
    try:
        weights = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, AttributeError, TypeError) as error:
        raise ModelError(
            f"{path} cannot be read: {str(error).splitlines()[0]}; save the weights again"
        ) from None
    if not isinstance(weights, dict) or not all(
        isinstance(value, torch.Tensor) for value in weights.values()
    ):
        raise ModelError(f"{path} holds more than weights; save module.state_dict() alone")
    for key, tensor in weights.items():
        if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
            raise UnsafeModelError(
                f"{path}: {key!r:.60} is declared {tuple(tensor.shape)}, more than its bytes hold"
            )
    return fit_to_weights(plain_copy(module), weights).eval()


def plain_copy(module: nn.Module) -> nn.Module:
    """Return a copy on the CPU in eval mode with masks and other parametrizations applied for good."""
    copy = deepcopy(module).cpu().eval()
    for layer in copy.modules():
        for name in list(getattr(layer, "parametrizations", {})):
            parametrize.remove_parametrizations(layer, name, leave_parametrized=True)
    return copy
