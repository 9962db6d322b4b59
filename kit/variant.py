"""The central noun: a model, how it was made, and what was measured of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol, Self, runtime_checkable

import numpy as np

from kit.errors import ArgumentError, DataError, ModelError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import torch
    from numpy.typing import NDArray

    from kit.media import Media
    from kit.statistics import Measurement

Task = Literal["classification", "regression", "generation"]


@dataclass(frozen=True)
class Preprocess:
    """How a raw sample becomes a model's input: `(raw * scale - mean) / std`, per channel, as float32.

    Attributes:
        scale: factor on raw values, such as 1/255 for bytes.
        mean, std: one value, or one per channel (the first axis of a sample).
    """

    scale: float = 1.0
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)

    def steps(self, raw: torch.Tensor) -> list[tuple[str, torch.Tensor]]:
        """Return a batch (N, …) after each step, with what the step did: the last one is `self(raw)`."""
        import torch

        shape = (1, -1) + (1,) * (raw.ndim - 2) if raw.ndim > 1 else (-1,)
        mean, std = (torch.tensor(values).view(shape) for values in (self.mean, self.std))
        scaled = raw.to(torch.float32) * self.scale
        centred = scaled - mean
        return [
            ("as read", raw),
            (f"× {self.scale:.4g}", scaled),
            (f"− mean {', '.join(f'{value:.4g}' for value in self.mean)}", centred),
            (f"÷ deviation {', '.join(f'{value:.4g}' for value in self.std)}", centred / std),
        ]

    def __call__(self, raw: torch.Tensor) -> torch.Tensor:
        """Transform a batch (N, …) of raw samples into float32 inputs of the same shape."""
        import torch

        x = raw.to(torch.float32)
        if (self.scale, self.mean, self.std) == (1.0, (0.0,), (1.0,)):
            return x
        shape = (1, -1) + (1,) * (x.ndim - 2) if x.ndim > 1 else (-1,)
        return (x * self.scale - torch.tensor(self.mean).view(shape)) / torch.tensor(self.std).view(shape)


@dataclass(frozen=True)
class Signature:
    """What a model takes and gives, independent of its format.

    Attributes:
        task: "classification" (outputs are logits, one per class), "regression", or "generation" (logits
            (tokens, T) of what follows each of T tokens, whose numbers travel as float32, exact to 2²⁴).
        shape: the shape of one input without the batch, such as (1, 28, 28).
        classes: the class names, or the tokens; empty for regression.
        outputs: how many values the model gives for one sample, or for each of its tokens.
        preprocess: how raw samples become inputs.
        media: what raw samples are made of, where their shape does not say it: pictures, sounds, texts, rows.
    """

    task: Task
    shape: tuple[int, ...]
    classes: tuple[str, ...] = ()
    outputs: int = 0
    preprocess: Preprocess = field(default_factory=Preprocess)
    media: Media | None = None

    def check(self, inputs: NDArray[Any]) -> None:
        """Raise DataError unless `inputs` is a float32 batch (N, *shape)."""
        if inputs.shape[1:] != self.shape or inputs.ndim != len(self.shape) + 1:
            expected = ", ".join(["N", *map(str, self.shape)])
            raise DataError(f"expected inputs of shape ({expected}), got {tuple(inputs.shape)}")
        if inputs.dtype != np.float32:
            raise DataError(
                f"expected float32 inputs, got {inputs.dtype}; raw samples pass signature.preprocess first"
            )


@runtime_checkable
class Model(Protocol):
    """Anything that maps a batch of inputs to a batch of outputs: an `nn.Module` or a model file."""

    def __call__(self, inputs: Any, /) -> Any:
        """Map (N, *shape) to (N, outputs)."""


class Report(Protocol):
    """What a verb has to say about what it did; printable, and kept in the card."""

    def to_dict(self) -> dict[str, Any]:
        """Return the report as a dictionary fit for JSON."""


@dataclass(frozen=True)
class Step:
    """One step of a recipe: the verb and the settings it was called with (fit for JSON)."""

    verb: str
    settings: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.verb}({', '.join(f'{key}={value!r}' for key, value in self.settings.items())})"


@dataclass(frozen=True, eq=False)
class Variant:
    """A model and how it was made. Verbs take one and return a new one; none is changed in place.

    Attributes:
        model: an `nn.Module`, or a model file such as `kit.runtime.onnx_model.OnnxModel`.
        name: a short name for tables and plots.
        signature: what goes in and comes out.
        recipe: the steps that made it, oldest first.
        parent: the variant it was made from, if any.
        report: what the last verb said, such as a training history.
        figures: what was measured, by name ("accuracy", "latency" …).
    """

    model: torch.nn.Module | Model
    name: str
    signature: Signature
    recipe: tuple[Step, ...] = ()
    parent: Variant | None = None
    report: Report | None = None
    figures: Mapping[str, Measurement] = field(default_factory=dict)

    def derive(
        self,
        model: torch.nn.Module | Model,
        verb: str,
        settings: Mapping[str, Any],
        *,
        name: str | None = None,
        report: Report | None = None,
    ) -> Self:
        """Return the child that `verb(**settings)` made of this variant."""
        return type(self)(
            model=model,
            name=name or f"{self.name} {verb}",
            signature=self.signature,
            recipe=(*self.recipe, Step(verb, settings)),
            parent=self,
            report=report,
        )

    def renamed(self, name: str) -> Self:
        """Return the same variant under another name."""
        fields = {key: getattr(self, key) for key in self.__dataclass_fields__}
        return type(self)(**(fields | {"name": name}))

    def with_figures(self, **figures: Measurement) -> Self:
        """Return the same variant with measurements added."""
        fields = {key: getattr(self, key) for key in self.__dataclass_fields__}
        return type(self)(**(fields | {"figures": {**self.figures, **figures}}))

    @property
    def file(self) -> Path | None:
        """The model file, or None for a module that lives in memory."""
        return getattr(self.model, "path", None)

    @property
    def module(self) -> torch.nn.Module:
        """The `nn.Module`.

        Raises:
            ModelError: when this variant is a file; the message names the ancestor to use instead.
        """
        import torch

        inner = getattr(self.model, "module", self.model)  # a module that is run in a certain way
        if isinstance(inner, torch.nn.Module):
            return inner
        ancestor = self.parent
        while ancestor is not None and not isinstance(ancestor.model, torch.nn.Module):
            ancestor = ancestor.parent
        hint = f"use its ancestor {ancestor.name!r}" if ancestor else "use the module it was made from"
        raise ModelError(f"{self.name!r} is a file ({self.file}), not a PyTorch module; {hint}")

    def __call__(self, inputs: NDArray[np.float32] | torch.Tensor) -> NDArray[np.float32]:
        """Run the model: (N, *shape) float32 in, (N, outputs) float32 out.

        Raises:
            DataError: when shape or dtype do not fit the signature.
        """
        import torch

        array = inputs.detach().cpu().numpy() if isinstance(inputs, torch.Tensor) else np.asarray(inputs)
        self.signature.check(array)
        if not isinstance(self.model, torch.nn.Module):
            return np.asarray(self.model(array), dtype=np.float32)
        where = next((p.device for p in self.model.parameters()), torch.device("cpu"))
        was_training = self.model.training
        self.model.eval()
        try:
            with torch.inference_mode():
                return np.asarray(self.model(torch.from_numpy(array).to(where)).float().cpu())
        finally:
            self.model.train(was_training)

    def __repr__(self) -> str:
        return f"Variant({self.name!r}: {' → '.join(map(str, self.recipe)) or 'as given'})"


def as_variant(model: torch.nn.Module | Variant, signature: Signature | None = None) -> Variant:
    """Wrap a module as a variant; a variant is returned as it is.

    Raises:
        ArgumentError: when `model` is neither.
    """
    import torch

    if isinstance(model, Variant):
        return model
    if isinstance(model, torch.nn.Module):
        if signature is None:
            raise ArgumentError("a bare module needs data (or a variant) to know its inputs and classes")
        made = getattr(model, "architecture", None)  # nets of kit.models know the name of their factory
        return Variant(model, getattr(made, "factory", type(model).__name__.lower()), signature)
    raise ArgumentError(
        f"expected a torch.nn.Module, a Variant or (for kit.open) a path, got {type(model).__name__}"
    )
