"""How large a model is: parameters, non-zeros, multiply-accumulates, bytes on disk."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import save
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from kit.errors import ArgumentError
from kit.measurement import graph, products
from kit.runtime.torch_model import TorchModel

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kit.variant import Signature


def parameters(model: Any) -> int:
    """Count the weights of a module, variant or ONNX file.

    Zeros count; buffers, scales and zero points do not.

    Raises:
        ArgumentError: when `model` is neither a module nor an ONNX file.

    >>> parameters(torch.nn.Linear(3, 2))
    8
    """
    target = _target(model)
    if isinstance(target, Path):
        return graph.weights(target).count
    return sum(weight.numel() for weight in _weights(target))


def nonzero(model: Any) -> int:
    """Count the weights that are not zero; of a pruned module with masks, those that the masks leave.

    Raises:
        ArgumentError: when `model` is neither a module nor an ONNX file.
    """
    target = _target(model)
    if isinstance(target, Path):
        return graph.weights(target).nonzero
    return sum(int(torch.count_nonzero(weight)) for weight in _weights(target))


def macs(model: Any, signature: Signature | None = None) -> int:
    """Count the multiply-accumulates of convolutions and matrix products for one sample.

    A module is run once on zeros while torch's own counter listens, so that functional calls, attention and
    recurrent cells count too; an ONNX file is run once on zeros for the shapes of its nodes.

    Args:
        model: a variant, or a module or ONNX file with its `signature`.
        signature: gives the shape of one sample; by default that of the variant.

    Raises:
        ArgumentError: when a bare model comes without signature.
    """
    signature = signature or getattr(model, "signature", None)
    if signature is None:
        raise ArgumentError("macs() needs a variant, or a signature that gives the shape of one sample")
    target = _target(model)
    if isinstance(target, Path):
        return products.macs(target, signature.shape)
    return _module_macs(target, signature.shape)


def bytes_on_disk(model: Any) -> int:
    """Return the bytes that a fresh process has to load.

    Of a module its state as safetensors, of an ONNX file the file and what it keeps beside it.

    Raises:
        ArgumentError: when `model` is neither a module nor a file.
    """
    target = _target(model)
    if isinstance(target, Path):
        return sum(path.stat().st_size for path in (target, *graph.side_files(target)))
    seen: dict[tuple[int, ...], str] = {}
    state = {}
    for key, tensor in target.state_dict().items():  # tied weights are stored once
        place = (tensor.data_ptr(), tensor.numel(), *tensor.stride()) if tensor.numel() else (id(tensor),)
        if seen.setdefault(place, key) == key:
            state[key] = tensor.contiguous()
    return len(save(state))


def _target(model: Any) -> torch.nn.Module | Path:
    """Return the module or the file behind a variant, a session, a path or a module."""
    inner = getattr(model, "model", model) if not isinstance(model, torch.nn.Module) else model
    if isinstance(inner, (torch.nn.Module, TorchModel)):
        return inner.module if isinstance(inner, TorchModel) else inner
    path = inner if isinstance(inner, (str, Path)) else getattr(inner, "path", None)
    if path is None:
        raise ArgumentError(f"expected a module, a variant or an ONNX file, got {type(model).__name__}")
    return Path(path)


def _weights(module: torch.nn.Module) -> Iterator[torch.Tensor]:
    """Yield each parameter once, as the forward pass sees it: masks and parametrizations applied."""
    seen: set[int] = set()
    for owner in module.modules():
        if isinstance(owner, torch.nn.utils.parametrize.ParametrizationList):
            continue
        names = [name.removesuffix("_orig") for name, _ in owner.named_parameters(recurse=False)]
        names += list(getattr(owner, "parametrizations", ()))
        for name, original in [(name, _original(owner, name)) for name in names]:
            if id(original) not in seen:
                seen.add(id(original))
                yield getattr(owner, name).detach()


def _original(owner: torch.nn.Module, name: str) -> Any:
    """Return the stored parameter behind a name: what tells tied weights from equal ones."""
    if torch.nn.utils.parametrize.is_parametrized(owner, name):
        return owner.parametrizations[name]  # type: ignore[index]
    return getattr(owner, f"{name}_orig", None) if hasattr(owner, f"{name}_orig") else getattr(owner, name)


def _module_macs(module: torch.nn.Module, shape: tuple[int, ...]) -> int:
    where = next((p.device for p in module.parameters()), torch.device("cpu"))
    was_training, fastpath = module.training, torch.backends.mha.get_fastpath_enabled()
    module.eval()
    # Fused attention and recurrent kernels are one opaque call; taken apart they show their products.
    torch.backends.mha.set_fastpath_enabled(value=False)
    try:
        with warnings.catch_warnings(), FlopCounterMode(display=False) as counter:
            warnings.simplefilter("ignore")  # oneDNN warns about TF32 whenever its flags are read
            with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), torch.backends.mkldnn.flags(enabled=False):
                module(torch.zeros(1, *shape, device=where))
    finally:
        torch.backends.mha.set_fastpath_enabled(fastpath)
        module.train(was_training)
    return int(counter.get_total_flops()) // 2
