"""A variant's recipe as the calls that would make it again."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

import kit

if TYPE_CHECKING:
    from kit.variant import Step, Variant


def as_code(variant: Variant) -> str:
    """Return one line a step, with the settings that differ from the verb's defaults.

    What a recipe notes beside the settings of a call, such as the format that "auto" became, is left out.

    >>> from kit.variant import Signature, Step, Variant
    >>> steps = (Step("train", {"epochs": 2, "loss": "auto"}),)
    >>> as_code(Variant(None, "net", Signature("regression", (1,)), steps))
    'model = kit.train(model, data, epochs=2)'
    """
    return "\n".join(map(_call, variant.recipe)) or "model  # as it was given"


def _call(step: Step) -> str:
    if step.verb not in kit.__all__:
        return f"model = {step}"
    parameters = inspect.signature(getattr(kit, step.verb)).parameters
    names = [p.name for p in parameters.values() if p.kind is p.POSITIONAL_OR_KEYWORD]
    known = {p.name: p.default for p in parameters.values() if p.kind is p.KEYWORD_ONLY}
    if any(p.kind is p.VAR_KEYWORD for p in parameters.values()):  # handed on to the training
        training = inspect.signature(kit.train).parameters.values()
        known = {p.name: p.default for p in training if p.kind is p.KEYWORD_ONLY} | known
    given = ["model", *(name for name in names[1:] if name in {"teacher", "data"})]
    given += ["data=data"] * ("data" in known)
    settings = {k: v for k, v in step.settings.items() if k in known and not _same(v, known[k])}
    return f"model = kit.{step.verb}({', '.join(given + [f'{k}={v!r}' for k, v in settings.items()])})"


def _same(value: Any, default: Any) -> bool:
    return type(value) is type(default) and bool(value == default)
