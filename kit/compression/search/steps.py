"""`Steps`: what a recipe is made by, each result kept, so that recipes share what they have in common."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from torch import nn

from kit import files
from kit.compression.distillation.distill import distill
from kit.compression.pruning.prune import prune
from kit.compression.pruning.sensitivity import sensitivity
from kit.compression.quantization.quantize import quantize
from kit.conversion.export import export, fingerprint
from kit.measurement.evaluate import evaluate
from kit.runtime.folder import load, save
from kit.runtime.onnx_model import OnnxModel
from kit.training.control import Control, Stop
from kit.training.settings import Settings
from kit.training.train import train

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from kit.compression.pruning.sensitivity import Sensitivity
    from kit.compression.search.recipes import Recipe, Space
    from kit.data import Dataset
    from kit.variant import Variant

_SLICE, _LEAST = 1 / 8, 256  # the part of the training split for a first impression, and its least samples
_SEEN = 2000  # validation samples for it


@dataclass(frozen=True)
class Made:
    """A variant and the checksum of what it computes with."""

    variant: Variant
    digest: str


class Steps:
    """Makes variants step by step. A result is known by its parent's weights and the settings of the step.

    Two recipes share whatever they have in common, whichever came first: quantizing a net in two ways
    trains and exports it once. With a folder, so does a search that is taken up again.

    Args:
        start: the trained model.
        student: another net to teach, or None.
        data: what it learns from and is judged on; its test split is never used.
        space: gives the settings that all recipes share.
        training: further keywords of `kit.train`.
        control: ends what is being trained; a step that it ended is not kept.
        folder: where results are kept; None keeps them in memory.

    Attributes:
        made: how many steps were really carried out, by verb.
        shared: likewise how many were found made.
    """

    def __init__(
        self,
        start: Variant,
        student: Variant | None,
        data: Dataset,
        *,
        space: Space,
        training: Mapping[str, Any],
        control: Control,
        folder: Path | None = None,
    ) -> None:
        self.data, self.space, self.training = data, space, dict(training)
        self.control, self.folder = control, folder
        self.made: dict[str, int] = {}
        self.shared: dict[str, int] = {}
        self._kept: dict[str, Made] = {}
        self._scans: dict[str, Sensitivity] = {}
        self._settings = {k: v for k, v in Settings.of(training).recipe().items() if k in training}
        self.start = Made(start, fingerprint(start.module))
        self._student = None if student is None else Made(student, fingerprint(student.module))

    def net(self, recipe: Recipe) -> Made:
        """Return the net that a recipe starts from: the model, or the student that learned from it."""
        if recipe.net == "given":
            return self.start
        assert self._student is not None
        how = {"epochs": self.space.student_epochs, "teacher": self.start.digest}
        return self._trained(
            self._student, "teach", how, lambda net: self._taught(net, self.space.student_epochs)
        )

    def cut(self, recipe: Recipe) -> Made:
        """Return the net with fewer channels, before any fine-tuning."""
        net = self.net(recipe)
        ratio = recipe.ratio if recipe.method == "even" else self._by_sensitivity(net, recipe.ratio)
        unit = self.space.round_to
        return self._step(
            net,
            "prune",
            {"ratio": ratio, "round_to": unit},
            lambda whole: prune(whole, self.data, ratio=ratio, round_to=unit, finetune=0),
        )

    def glimpse(self, recipe: Recipe) -> Made:
        """Return the pruned net after one epoch on a slice of the training split: a first impression."""
        count = max(_LEAST, int(_SLICE * len(self.data.train)))
        few = replace(self.data, train=self.data.train.take(count), valid=self.data.valid.take(_SEEN))
        how = {"epochs": 1, "samples": count, "taught": recipe.taught}
        return self._trained(
            self.cut(recipe), "glimpse", how, lambda net: self._tune(net, 1, few, taught=recipe.taught)
        )

    def tuned(self, recipe: Recipe) -> Made:
        """Return the module of a recipe, before it becomes a file."""
        if not recipe.ratio:
            return self.net(recipe)
        how = {"epochs": recipe.epochs, "taught": recipe.taught, "teacher": self.start.digest}
        return self._trained(
            self.cut(recipe),
            "finetune",
            how,
            lambda net: self._tune(net, recipe.epochs, self.data, taught=recipe.taught),
        )

    def finished(self, recipe: Recipe) -> Made:
        """Return the file of a recipe, for its runtime, under its name."""
        file = self._step(self.tuned(recipe), "export", {}, lambda v: export(v, data=self.data))
        if (scheme := recipe.scheme) != "none":
            file = self._step(
                file,
                "quantize",
                {"scheme": scheme},
                lambda v: quantize(v, self.data, scheme=scheme),  # type: ignore[arg-type]
            )
        variant = file.variant
        if recipe.runtime != "onnxruntime":
            assert variant.file is not None
            model = OnnxModel(variant.file, runtime=recipe.runtime)
            variant = variant.derive(model, "run", {"runtime": recipe.runtime}, report=variant.report)
        return Made(variant.renamed(f"{self.start.variant.name} {recipe}"), file.digest)

    def score(self, made: Made) -> Any:
        """Return accuracy or RMSE on the validation split, with its interval."""
        return evaluate(made.variant, self.data, split="valid").score

    def check(self) -> None:
        """Wait while paused; raise `Stop` when the search was asked to end."""
        self.control.hold()
        if self.control.stopping:
            raise Stop

    def _tune(self, net: Variant, epochs: int, data: Dataset, *, taught: bool) -> Variant:
        how = {**self.training, "epochs": epochs, "control": self.control}
        return distill(net, self.start.variant, data, **how) if taught else train(net, data, **how)

    def _taught(self, net: Variant, epochs: int) -> Variant:
        return self._tune(net, epochs, self.data, taught=True)

    def _by_sensitivity(self, net: Made, ratio: float) -> dict[str, float]:
        """Return ratios by layer of which the mean is about `ratio`; each layer bears its own as well."""
        if net.digest not in self._scans:
            self._scans[net.digest] = sensitivity(net.variant, self.data, samples=500)
        scan = self._scans[net.digest]
        drops = [scan.drops(layer) for layer in scan.scores]
        least = max(0.0, min(row[0] for row in drops))  # below it no layer gives anything
        ladder = [scan.ratios(drop) for drop in sorted({max(least, drop) for row in drops for drop in row})]
        return min(ladder, key=lambda rung: abs(sum(rung.values()) / len(rung) - ratio))

    def _trained(
        self, parent: Made, verb: str, how: Mapping[str, Any], make: Callable[[Variant], Variant]
    ) -> Made:
        return self._step(parent, verb, {**how, **self._settings}, make)

    def _step(
        self, parent: Made, verb: str, how: Mapping[str, Any], make: Callable[[Variant], Variant]
    ) -> Made:
        """Return what a step makes of its parent: found, or made, checked and kept."""
        self.check()
        named = json.dumps([parent.digest, verb, dict(how)], sort_keys=True)
        key = hashlib.sha256(named.encode()).hexdigest()[:20]
        found = self._find(key, parent.variant)
        count = self.made if found is None else self.shared
        count[verb] = count.get(verb, 0) + 1
        if found is not None:
            return found
        variant = make(parent.variant)
        self.check()
        return self._keep(key, variant)

    def _find(self, key: str, parent: Variant) -> Made | None:
        if self.folder is None:
            return self._kept.get(key)
        if not (self.folder / key / "card.json").is_file():
            return None
        module = parent.model if isinstance(parent.model, nn.Module) else None
        return _made(load(self.folder / key, module=module))

    def _keep(self, key: str, variant: Variant) -> Made:
        if self.folder is None:
            return self._kept.setdefault(key, _made(variant))
        save(variant, self.folder / key)
        module = variant.model if isinstance(variant.model, nn.Module) else None
        return _made(load(self.folder / key, module=module))  # what a later search will find


def _made(variant: Variant) -> Made:
    if isinstance(variant.model, nn.Module):
        return Made(variant, fingerprint(variant.model))
    assert variant.file is not None
    return Made(variant, files.digest(variant.file))
