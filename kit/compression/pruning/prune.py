"""`prune`: take away channels or weights, step by step, and let what stays learn from the dense parent."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from kit.compression.distillation.distill import answers, taught
from kit.compression.pruning import masks, structured
from kit.compression.pruning.report import PruneReport, measure
from kit.data import as_dataset
from kit.errors import ArgumentError, ModelError, unknown
from kit.measurement.evaluate import evaluate
from kit.training.loop import fit
from kit.training.settings import Settings
from kit.variant import as_variant

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import torch
    from torch import nn

    from kit.data import Dataset
    from kit.training.control import Control
    from kit.training.history import History
    from kit.variant import Variant

    Ratio = float | Mapping[str, float]
    Hold = Callable[[nn.Module], None]
    Cut = Callable[[nn.Module, Ratio], tuple[nn.Module, Hold | None]]

METHODS = ("structured", "lamp", "magnitude", "layer_magnitude")


def prune(
    model: nn.Module | Variant,
    data: Any,
    *,
    ratio: Ratio | None = None,
    method: str = "structured",
    steps: int = 1,
    finetune: int = 1,
    distill: bool = True,
    temperature: float = 4.0,
    weight: float = 0.7,
    protect: Sequence[str] = (),
    round_to: int = 8,
    control: Control | None = None,
    name: str | None = None,
    **training: Any,
) -> Variant:
    """Remove channels (the net really shrinks) or single weights (zeros in the same shapes), then fine-tune.

    Args:
        model: a trained module or variant of a module; not changed.
        data: a `Dataset` or whatever `kit.data.as_dataset` takes.
        ratio: the fraction to remove, from 0 up to, not including, 1; 0.5 by default. Or fractions by layer
            name, such as `kit.sensitivity(…).ratios()` gives, for "structured" and "layer_magnitude".
        method: "structured": whole channels of least norm, with all that is coupled to them;
            "lamp" or "magnitude": single weights of least score over the whole net;
            "layer_magnitude": the same fraction of each layer; "2:4" and the like: n of every m weights stay.
        steps: 1 removes all at once; more remove little by little, fine-tuning each time, the ratio
            growing as `1 - (1 - t)³`.
        finetune: epochs after each step; 0 for none.
        distill: learn from the dense parent's answers as well as from the labels.
        temperature, weight: of that distillation, as in `kit.distill`.
        protect: layers, or modules that contain them, that stay whole. What gives the outputs, and what the
            net breaks without, always keeps its channels.
        round_to: channels are kept in multiples of this, since processors compute them in blocks; a layer
            of fewer keeps them all. 1 follows `ratio` to the channel.
        control: a `kit.training.Control`, to pause or stop from another thread.
        name: the name of the result.
        training: anything else that `kit.train` takes, such as `lr`, `seed` or `augment`.

    Returns:
        A new variant of a plain module; its `report` is a `PruneReport`.

    Raises:
        ArgumentError: when a ratio, a method, a layer's name or a number is out of range.
        ModelError: when there is nothing to prune, or the net cannot be traced.

    Sources: for "structured" G. Fang et al., "DepGraph", arXiv:2301.12900; for "lamp" J. Lee et al.,
    arXiv:2010.07611; for the steps M. Zhu, S. Gupta, "To prune, or not to prune", arXiv:1710.01878.

    Example:
        >>> slim = kit.prune(dense, data, ratio=0.5, finetune=2)  # doctest: +SKIP
        >>> print(slim.report)  # doctest: +SKIP
    """
    data = as_dataset(data)
    parent = as_variant(model, data.signature)
    ratio = _check_arguments(ratio, method, steps, finetune, round_to)
    how = _training(training, finetune, steps)
    module = copy.deepcopy(parent.module)
    cut, whole = _planned(module, data, ratio, method, protect, round_to)
    dense = evaluate(parent, data, split="valid").score
    objective = None
    if finetune and distill:
        ask = answers(parent, data, how)
        objective = taught(ask, data, temperature=temperature, weight=weight, training=how)
    histories: list[History] = []
    for step in range(1, steps + 1):
        reached = _scaled(ratio, schedule(step, steps))
        module, hold = cut(module, reached)
        damaged = evaluate(module, data, split="valid").score
        if finetune:
            histories.append(
                fit(module, data, objective, after_step=hold, control=control, label="prune", **how)
            )
            if histories[-1].stopped != "finished":
                break
    report = PruneReport(
        method=method,
        before=measure(parent.module, parent.signature),
        after=measure(module, parent.signature),
        dense=dense,
        damaged=damaged,
        pruned=evaluate(module, data, split="valid").score,
        whole=whole,
        histories=tuple(histories),
    )
    settings = {"ratio": dict(reached) if isinstance(reached, Mapping) else reached, "method": method}
    settings |= {"steps": steps, "finetune": finetune, "distill": objective is not None}
    settings |= {key: value for key, value in Settings.of(how).recipe().items() if key in training}
    label = name or f"{parent.name} {_label(reached, method)}"
    return parent.derive(module, "prune", settings, name=label, report=report)


def schedule(step: int, steps: int) -> float:
    """Return which part of the final ratio is reached after `step` of `steps`: fast first, then slowly.

    >>> [round(schedule(step, 4), 2) for step in (1, 2, 3, 4)]
    [0.58, 0.88, 0.98, 1.0]
    """
    return 1 - (1 - step / steps) ** 3


def _planned(
    module: nn.Module, data: Dataset, ratio: Ratio, method: str, protect: Sequence[str], round_to: int
) -> tuple[Cut, dict[str, str]]:
    """Return what cuts a net down to a ratio (and says what keeps it there), and which layers stay whole."""
    if method == "structured":
        return _channels(module, data, ratio, protect, round_to)
    return _weights(module, ratio, method, protect)


def _channels(
    module: nn.Module, data: Dataset, ratio: Ratio, protect: Sequence[str], round_to: int
) -> tuple[Cut, dict[str, str]]:
    def example(net: nn.Module) -> torch.Tensor:
        return data.train.inputs[:2].to(next(net.parameters()).device)

    groups = structured.coupled(module, example(module), protect=protect)
    whole = {layer: group.fixed for group in groups if group.fixed for layer in group.layers}
    if len(whole) == sum(len(group.layers) for group in groups):
        reasons = ", ".join(f"{layer!r} {why}" for layer, why in whole.items()) or "it has no such layers"
        raise ModelError(f"{type(module).__name__} has no channels to prune: {reasons}")
    goal = structured.widths(groups, ratio, round_to=round_to)
    asked = any(ratio.values()) if isinstance(ratio, Mapping) else ratio > 0
    if asked and all(goal[group.name] == group.channels for group in groups if not group.fixed):
        raise ArgumentError(
            f"ratio={ratio!r} with round_to={round_to} leaves every layer whole; take a larger ratio, or "
            "round_to=1 to remove single channels"
        )

    def cut(net: nn.Module, reached: Ratio) -> tuple[nn.Module, None]:
        keep = structured.widths(groups, reached, round_to=round_to)
        return structured.shrink(net, example(net), keep), None

    return cut, whole


def _weights(
    module: nn.Module, ratio: Ratio, method: str, protect: Sequence[str]
) -> tuple[Cut, dict[str, str]]:
    dense = masks.weights(module, protect=protect)
    whole = {layer: "protected" for layer in masks.weights(module) if layer not in dense}
    chosen = _choose(dense, ratio, method)
    if masks.parse_n_m(method):
        why = f"its inputs are no multiple of {method.partition(':')[2]}"
        whole |= {layer: why for layer in dense if layer not in chosen}

    def cut(net: nn.Module, reached: Ratio) -> tuple[nn.Module, Hold]:
        hold = partial(masks.apply, masks=_choose(masks.weights(net, protect=protect), reached, method))
        hold(net)
        return net, hold

    return cut, whole


def _choose(weights: Mapping[str, torch.Tensor], ratio: Ratio, method: str) -> masks.Masks:
    """Return the masks of a method at a ratio."""
    if pattern := masks.parse_n_m(method):
        return masks.n_m_masks(weights, *pattern)
    if isinstance(ratio, Mapping):
        return masks.layer_masks(weights, ratio)
    if method == "layer_magnitude":
        return masks.layer_masks(weights, dict.fromkeys(weights, ratio))
    return masks.global_masks(weights, ratio, masks.lamp if method == "lamp" else masks.magnitude)


def _scaled(ratio: Ratio, share: float) -> Ratio:
    if isinstance(ratio, Mapping):
        return {layer: part * share for layer, part in ratio.items()}
    return ratio * share


def _label(ratio: Ratio, method: str) -> str:
    """Return what the result's name says: "pruned 50%", "lamp 90%", "2:4", "pruned by layer"."""
    if masks.parse_n_m(method):
        return method
    word = "pruned" if method == "structured" else method.replace("_", " ")
    return f"{word} by layer" if isinstance(ratio, Mapping) else f"{word} {100 * ratio:.3g}%"


def _check_arguments(ratio: Ratio | None, method: str, steps: int, finetune: int, round_to: int) -> Ratio:
    """Return the ratio, or raise ArgumentError."""
    pattern = masks.parse_n_m(method)
    if pattern is None and method not in METHODS:
        raise unknown("method", method, [*METHODS, "2:4"])
    for what, value, least in (("steps", steps, 1), ("finetune", finetune, 0), ("round_to", round_to, 1)):
        if not isinstance(value, int) or value < least:
            raise ArgumentError(f"{what} must be a whole number of at least {least}, got {value!r}")
    if pattern:
        implied = 1 - pattern[0] / pattern[1]
        if steps != 1 or ratio not in {None, implied}:
            raise ArgumentError(f"method {method!r} removes {implied:g} at once; leave out ratio= and steps=")
        return implied
    if isinstance(ratio, Mapping) and method not in {"structured", "layer_magnitude"}:
        raise ArgumentError(
            f"method {method!r} finds the ratio of each layer itself; give it one number, or take "
            "'structured' or 'layer_magnitude' for ratios by layer"
        )
    if isinstance(ratio, Mapping):
        return {layer: check_ratio(part, f" for layer {layer!r}") for layer, part in ratio.items()}
    return check_ratio(0.5 if ratio is None else ratio)


def _training(training: Mapping[str, Any], finetune: int, steps: int) -> dict[str, Any]:
    """Return the keywords of `fit`, checked before anything is measured or trained."""
    if "epochs" in training:
        raise ArgumentError("prune takes finetune= (epochs after each step) instead of epochs=")
    if training.get("checkpoint") is not None and steps > 1:
        raise ArgumentError("a checkpoint holds one training run, but steps= makes several; leave one out")
    how = {**training, "epochs": max(finetune, 1)}
    Settings.of(how)
    return how


def check_ratio(ratio: float, where: str = "") -> float:
    """Return the ratio, or raise ArgumentError unless it lies from 0 up to, not including, 1."""
    if isinstance(ratio, bool) or not isinstance(ratio, float | int) or not 0 <= ratio < 1:  # NaN as well
        raise ArgumentError(
            f"ratio must be a number from 0 (keeps all) to below 1 (would keep nothing), got {ratio!r}{where}"
        )
    return float(ratio)
