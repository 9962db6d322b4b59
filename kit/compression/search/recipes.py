"""`Recipe`: one way through pruning, distillation, quantization and a runtime. `Space`: all of them."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields, replace
from importlib.util import find_spec
from itertools import product
from typing import TYPE_CHECKING, Any, Protocol

from kit.compression.quantization.quantize import SCHEMES
from kit.errors import ArgumentError, unknown

if TYPE_CHECKING:
    from collections.abc import Sequence

RUNTIMES = {"onnxruntime": "", "openvino": "OpenVINO"}
_SCHEMES = ("none", "static", "dynamic", "weights8", "weights4", "fp16")
NETS = ("given", "student")


class Chooser(Protocol):
    """Whatever picks one of several values by name: a trial of Optuna's."""

    def suggest_categorical(self, name: str, choices: Sequence[Any], /) -> Any:
        """Return one of `choices`, which have no order."""

    def suggest_int(self, name: str, low: int, high: int, /) -> int:
        """Return a whole number from `low` to `high`."""


@dataclass(frozen=True)
class Recipe:
    """One way to make the model smaller or faster; what a step makes idle is set to its plain value.

    Attributes:
        net: "given" starts from the model, "student" from another net that learned from its answers.
        ratio: the fraction of channels to remove; 0 leaves the net whole.
        method: "even", the same fraction of every layer; "sensitivity", more of those that bear it.
        epochs: of fine-tuning after pruning.
        taught: whether fine-tuning learns from the model's answers, or from the labels alone.
        scheme: of quantization, as in `kit.quantize`; or "none".
        runtime: "onnxruntime" or "openvino".
    """

    net: str = "given"
    ratio: float = 0.0
    method: str = "even"
    epochs: int = 0
    taught: bool = True
    scheme: str = "none"
    runtime: str = "onnxruntime"

    def plain(self) -> Recipe:
        """Return the recipe without what has no effect: a net that is not pruned is not fine-tuned."""
        return self if self.ratio else replace(self, method="even", epochs=0, taught=True)

    def to_dict(self) -> dict[str, Any]:
        """Return the recipe as a dictionary fit for JSON."""
        return asdict(self)

    def __str__(self) -> str:
        parts = ["student"] if self.net == "student" else []
        if self.ratio:
            how = "" if self.method == "even" else f" by {self.method}"
            labels = "" if self.taught else " on labels"
            parts.append(f"−{100 * self.ratio:.3g}%{how}, {self.epochs} ep{labels}")
        if self.scheme != "none":
            parts.append(SCHEMES[self.scheme])
        return ", ".join(parts + [name for name in (RUNTIMES[self.runtime],) if name]) or "as given"


@dataclass(frozen=True)
class Space:
    """What the search may choose from; a tuple of one value fixes it.

    Single zeroed weights are not among it: an ONNX file stores zeros like other numbers, and runtimes compute
    with them.

    Attributes:
        ratios: fractions of channels to remove, ascending.
        methods: "even", "sensitivity".
        epochs: of fine-tuning, ascending.
        taught: with the model's answers, on the labels alone, or both to try.
        schemes: of `kit.quantize`, and "none".
        runtimes: "onnxruntime", "openvino"; by default those that are installed. Only a budget that depends
            on speed tries several: the file is the same.
        round_to: channels are kept in multiples of this, as in `kit.prune`.
        student_epochs: how long a student learns before anything else.

    >>> space = Space(ratios=(0, 0.5), methods=("even",), epochs=(1,), runtimes=("onnxruntime",))
    >>> len(space.recipes())
    15
    """

    ratios: tuple[float, ...] = (0.0, 0.25, 0.375, 0.5, 0.625, 0.75, 0.875)
    methods: tuple[str, ...] = ("even", "sensitivity")
    epochs: tuple[int, ...] = (1, 2, 4)
    taught: tuple[bool, ...] = (True, False)
    schemes: tuple[str, ...] = ("none", "static", "weights8", "weights4", "fp16")
    runtimes: tuple[str, ...] = ()
    round_to: int = 8
    student_epochs: int = 8

    def __post_init__(self) -> None:
        """Check the names and numbers, and fill in the runtimes that are there."""
        if not self.runtimes:
            there = ("onnxruntime", "openvino") if find_spec("openvino") else ("onnxruntime",)
            object.__setattr__(self, "runtimes", there)
        known = {"methods": ("even", "sensitivity"), "schemes": _SCHEMES, "runtimes": tuple(RUNTIMES)}
        for key in (field.name for field in fields(self) if field.name not in {"round_to", "student_epochs"}):
            values = getattr(self, key)
            if not isinstance(values, tuple) or not values:
                raise ArgumentError(f"{key} must be a tuple of at least one value, got {values!r}")
            for value in values:
                if key in known and value not in known[key]:
                    raise unknown(key[:-1], value, known[key])
        if any(not 0 <= ratio < 1 for ratio in self.ratios):
            raise ArgumentError(f"ratios must lie from 0 to below 1, got {self.ratios}")
        if min(*self.epochs, self.student_epochs, self.round_to) < 1:
            raise ArgumentError(f"epochs, student_epochs and round_to must be 1 or more, got {self}")

    def suggest(self, choose: Chooser, nets: Sequence[str] = NETS[:1]) -> Recipe:
        """Return the recipe that `choose` picks; what has an order is picked by its place in it.

        Everything is asked for, even where it has no effect: samplers that cross recipes need all of them to
        have the same parts.
        """
        return Recipe(
            net=choose.suggest_categorical("net", list(nets)),
            ratio=self.ratios[choose.suggest_int("ratio", 0, len(self.ratios) - 1)],
            method=choose.suggest_categorical("method", list(self.methods)),
            epochs=self.epochs[choose.suggest_int("epochs", 0, len(self.epochs) - 1)],
            taught=choose.suggest_categorical("taught", list(self.taught)),
            scheme=choose.suggest_categorical("scheme", list(self.schemes)),
            runtime=choose.suggest_categorical("runtime", list(self.runtimes)),
        ).plain()

    def places(self, recipe: Recipe) -> dict[str, Any]:
        """Return what `suggest` has to be answered to give this recipe."""
        idle = {"method": self.methods[0], "epochs": self.epochs[0], "taught": self.taught[0]}
        found = recipe.to_dict() | ({} if recipe.ratio else idle)
        return found | {
            "ratio": self.ratios.index(found["ratio"]),
            "epochs": self.epochs.index(found["epochs"]),
        }

    def recipes(self, nets: Sequence[str] = NETS[:1]) -> list[Recipe]:
        """Return every recipe once, the plainest first."""
        every = product(
            nets, self.ratios, self.methods, self.epochs, self.taught, self.schemes, self.runtimes
        )
        return list(dict.fromkeys(Recipe(*values).plain() for values in every))

    def first(self, nets: Sequence[str] = NETS[:1]) -> list[Recipe]:
        """Return what anyone would try first: the net quantized, pruned to about half, and both."""
        half = min(self.ratios, key=lambda ratio: abs(ratio - 0.5))
        scheme = next((s for s in ("static", *self.schemes) if s in self.schemes), "none")
        pruned = Recipe(
            nets[0], half, self.methods[0], self.epochs[0], self.taught[0], runtime=self.runtimes[0]
        )
        whole = Recipe(nets[0], scheme=scheme, runtime=self.runtimes[0])
        tried = [whole, replace(pruned, scheme=scheme).plain()]
        return [recipe for recipe in tried if recipe in set(self.recipes(nets))]

    def to_dict(self) -> dict[str, Any]:
        """Return the space as a dictionary fit for JSON."""
        return asdict(self)
