"""In which precision and memory layout to train here: as asked, or by a short interleaved probe."""

from __future__ import annotations

import copy
import math
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from kit import device as hardware
from kit.errors import ArgumentError, DeviceError, unknown
from kit.training.pooling import channels_last_pooling

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

PRECISIONS = ("auto", "fp32", "bf16", "fp16")
LAYOUTS = ("auto", "contiguous", "channels_last")
_DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}

# bf16 must gain this much to be worth its rounding; a layout changes no rounding to speak of.
_WORTH_BF16 = 1.15
_WORTH_LAYOUT = 1.03

# Below so many steps the probe would cost more than it could bring.
_SHORT = 100

# What was found in this process: the same call runs in the same way twice, and is probed once.
_found: dict[str, Execution] = {}


@dataclass(frozen=True)
class Execution:
    """How the arithmetic is done.

    Attributes:
        precision: "fp32", or "bf16"/"fp16" by autocast (weights and their updates stay float32).
        layout: "contiguous" or "channels_last".
        reason: why, with what was measured.
    """

    precision: str = "fp32"
    layout: str = "contiguous"
    reason: str = ""

    @property
    def channels_last(self) -> bool:
        """Whether images are kept with their channels last in memory."""
        return self.layout == "channels_last"

    @contextmanager
    def applied(self, module: nn.Module, where: torch.device) -> Iterator[None]:
        """Bring a module into this layout and precision; afterwards it is as it was.

        The outputs are float32 in either case, so that losses never see low precision; in eval mode all
        is float32, so that validation judges the weights as they will be used.
        """
        with ExitStack() as stack:
            if self.channels_last:
                _arrange(module, torch.channels_last)
                stack.callback(_arrange, module, torch.contiguous_format)
                stack.enter_context(channels_last_pooling(module))
            if self.precision in _DTYPES:
                stack.enter_context(_autocast(module, where, _DTYPES[self.precision]))
            yield


def _arrange(module: nn.Module, layout: torch.memory_format) -> None:
    module.to(memory_format=layout)  # type: ignore[call-overload]


@contextmanager
def _autocast(module: nn.Module, where: torch.device, dtype: torch.dtype) -> Iterator[None]:
    """Run a module under autocast while it trains. By hooks, so that a copy of it works too."""
    entered: list[torch.autocast] = []

    def enter(layer: nn.Module, _given: Any) -> None:
        if layer.training:
            entered.append(torch.autocast(where.type, dtype))
            entered[-1].__enter__()  # type: ignore[no-untyped-call]

    def leave(layer: nn.Module, _given: Any, out: Any) -> Any:
        if layer.training:
            entered.pop().__exit__(None, None, None)
        return out.float() if isinstance(out, torch.Tensor) else out

    hooks = module.register_forward_pre_hook(enter), module.register_forward_hook(leave, always_call=True)
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def choose(
    module: nn.Module,
    inputs: torch.Tensor,
    where: torch.device,
    *,
    precision: str,
    layout: str,
    steps: int,
) -> Execution:
    """Return how to train: what was asked for, or what a probe on this machine found clearly faster.

    Args:
        module: the model, not changed.
        inputs: one batch of training inputs, on `where`.
        where: the device.
        precision, layout: as `kit.train` takes them.
        steps: how many steps the run has: a run shorter than its probe is not probed.

    Raises:
        ArgumentError: for an unknown precision or layout.
        DeviceError: for fp16 without a GPU.
    """
    if precision not in PRECISIONS:
        raise unknown("precision", precision, PRECISIONS)
    if layout not in LAYOUTS:
        raise unknown("layout", layout, LAYOUTS)
    if precision == "fp16" and where.type == "cpu":
        raise DeviceError("fp16 training needs a GPU; on this processor take 'bf16' or 'auto'")
    images = inputs.ndim == 4 and any(isinstance(layer, nn.Conv2d) for layer in module.modules())
    if layout == "channels_last" and inputs.ndim != 4:
        raise ArgumentError(f"layout 'channels_last' needs (N, C, H, W) inputs, got {tuple(inputs.shape)}")
    layouts = _layouts(layout, images=images)
    precisions, why = _precisions(precision, where)
    candidates = [Execution(p, at) for p in precisions for at in layouts]
    if len(candidates) == 1:
        return Execution(candidates[0].precision, candidates[0].layout, why or "as asked")
    if steps < _SHORT:
        return Execution(candidates[0].precision, candidates[0].layout, "too short a run to probe")
    shapes = [tuple(p.shape) for p in (*module.parameters(), inputs)]
    key = str((module, shapes, where, torch.get_num_threads(), candidates))
    if key not in _found:
        _found[key] = _fastest(candidates, _probe(module, inputs, where, candidates), why)
    return _found[key]


def _layouts(layout: str, *, images: bool) -> tuple[str, ...]:
    if layout != "auto":
        return (layout,)
    return ("contiguous", "channels_last") if images else ("contiguous",)


def _precisions(precision: str, where: torch.device) -> tuple[tuple[str, ...], str]:
    """Return the precisions to try, and what makes low precision possible or not."""
    if precision != "auto":
        return (precision,), ""
    if where.type == "cuda":
        name = torch.cuda.get_device_name(where)
        fast = torch.cuda.is_bf16_supported()
        return (("fp32", "bf16"), name) if fast else (("fp32",), f"{name} has no bf16")
    if where.type != "cpu":
        return ("fp32",), f"bf16 is not tried on {where.type} unless asked for"
    found = hardware.accelerates("bf16")
    return (("fp32", "bf16"), found) if found else (("fp32",), "no bf16 instructions here")


def _probe(
    module: nn.Module, inputs: torch.Tensor, where: torch.device, candidates: Sequence[Execution]
) -> list[list[float]]:
    """Return seconds of a forward and backward pass, a list a candidate, measured in interleaved rounds.

    A candidate that cannot run here, as when an operator has no bf16 kernel, takes for ever.
    """
    fewest, most, budget = 5, 9, 1.5
    times: list[list[float]] = [[] for _ in candidates]
    started = time.perf_counter()
    for turn in range(most + 1):
        for candidate, seconds in zip(candidates, times, strict=True):
            try:
                spent = _time_once(copy.deepcopy(module).train(), inputs, where, candidate)
            except (RuntimeError, NotImplementedError):
                if candidate == candidates[0]:
                    raise
                spent = math.inf
            if turn:  # the first round warms caches and prepares kernels
                seconds.append(spent)
        if turn >= fewest and time.perf_counter() - started > budget:
            break
    return times


def _time_once(trial: nn.Module, inputs: torch.Tensor, where: torch.device, candidate: Execution) -> float:
    if candidate.channels_last:
        inputs = inputs.contiguous(memory_format=torch.channels_last)
    with candidate.applied(trial, where):
        hardware.synchronize(where)
        begin = time.perf_counter()
        trial(inputs).square().mean().backward()
        hardware.synchronize(where)
        return time.perf_counter() - begin


def _fastest(candidates: Sequence[Execution], times: Sequence[Sequence[float]], why: str) -> Execution:
    """Pick the fastest; a step away from the first must be clear in the minima and round by round."""

    def gain(index: int, over: int) -> float:
        ratios = [a / b for a, b in zip(times[over], times[index], strict=True)]
        return min(median(ratios), min(times[over]) / min(times[index]))

    best = 0
    for index, candidate in enumerate(candidates):
        worth = _WORTH_LAYOUT if candidate.precision == candidates[best].precision else _WORTH_BF16
        if gain(index, best) > worth:
            best = index
    first, chosen = candidates[0], candidates[best]
    gains = [gain(index, 0) for index in range(len(candidates))]
    measured = ", ".join(
        f"{c.precision} {c.layout} {f'{g:.2f}×' if g else 'cannot run'}"
        for c, g in zip(candidates[1:], gains[1:], strict=True)
    )
    reason = f"probe, {len(times[0])} rounds, speed against {first.precision} {first.layout}: {measured}"
    return Execution(chosen.precision, chosen.layout, f"{reason}; {why}" if why else reason)
