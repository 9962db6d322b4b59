"""Logits of any model over a split: the one place where evaluation runs a model."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from kit import device as hardware
from kit.errors import DataError, ModelError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from kit.data import Split
    from kit.variant import Variant


def logits(
    model: torch.nn.Module | Variant | Any,
    split: Split,
    *,
    batch_size: int = 500,
    device: str | torch.device | None = None,
) -> NDArray[np.float32]:
    """Run a model over a split.

    Args:
        model: a variant, a module, a session, or anything that maps (n, *shape) to (n, outputs).
        split: the samples, N of them.
        batch_size: how many samples the model gets at a time.
        device: where a module runs; by default where its weights are. A model file runs where it was opened.

    Returns:
        The outputs (N, outputs), float32, in the order of the split.

    Raises:
        ModelError: when the model cannot take the samples, or gives NaN or another number of rows.
    """
    name = getattr(model, "name", type(model).__name__)
    call = _callable(model, device)
    outputs = []
    for start in range(0, len(split), batch_size):
        inputs = split.inputs[start : start + batch_size]
        try:
            rows = np.asarray(call(inputs), dtype=np.float32)
        except (RuntimeError, DataError) as error:
            reason = str(error).strip().split("\n", 1)[0]
            raise ModelError(
                f"{name!r} cannot run on inputs of shape {tuple(inputs.shape)}: {reason}"
            ) from error
        if rows.ndim == 0 or len(rows) != len(inputs):
            raise ModelError(f"{name!r} gave outputs of shape {rows.shape} for {len(inputs)} samples")
        outputs.append(rows.reshape(len(rows), -1))
    result = np.concatenate(outputs)
    if np.isnan(result).any():
        row = int(np.isnan(result).any(axis=1).argmax())
        raise ModelError(f"{name!r} gives NaN, first for sample {row} of {split.name!r}; was it trained?")
    return result


def _callable(model: Any, device: str | torch.device | None) -> Any:
    """Return what maps a float32 tensor to an array."""
    module = model if isinstance(model, torch.nn.Module) else getattr(model, "model", None)
    if not isinstance(module, torch.nn.Module):
        return lambda inputs: model(inputs.numpy())
    where = next((p.device for p in module.parameters()), torch.device("cpu"))
    if device is not None and hardware.pick(device) != where:
        where = hardware.pick(device)
        module = copy.deepcopy(module).to(where)
    return lambda inputs: _run(module, inputs.to(where))


@torch.inference_mode()
def _run(module: torch.nn.Module, inputs: torch.Tensor) -> NDArray[np.float32]:
    was_training = module.training
    module.eval()
    try:
        outputs = module(inputs)
    finally:
        module.train(was_training)
    if not isinstance(outputs, torch.Tensor):
        raise ModelError(f"expected a module that returns one tensor, got {type(outputs).__name__}")
    return outputs.float().cpu().numpy()
