"""Feature matching: inner layers of a student learn to say what a teacher's inner layers say."""

from __future__ import annotations

import copy
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn import functional as F

from kit.errors import ModelError, unknown

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from kit.data import Dataset
    from kit.training.loop import Objective


class Adapted(nn.Module):
    """A student with a map behind each matched layer, trained beside it and thrown away afterwards.

    Args:
        student: the net; trained in place.
        teacher: the net to listen to.
        pairs: layer of the teacher, by layer of the student.
        example: inputs (N, *shape).

    Raises:
        ArgumentError: when a layer does not exist; names the nearest.
        ModelError: when two layers differ in more than their width.
    """

    def __init__(
        self, student: nn.Module, teacher: nn.Module, pairs: Mapping[str, str], example: torch.Tensor
    ) -> None:
        super().__init__()
        self.student = student
        self.pairs = tuple(pairs.items())
        small, large = (_features(m, n, example) for m, n in ((student, pairs), (teacher, pairs.values())))
        self.adapters = nn.ModuleList(_adapter((s, small[s]), (t, large[t])) for s, t in self.pairs)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Run the student alone."""
        outputs: torch.Tensor = self.student(inputs)
        return outputs

    def distance(self, heard: Mapping[str, torch.Tensor], wanted: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Return the mean squared error of all matched layers, each relative to the teacher's own size.

        Args:
            heard: what the student's layers gave out, by name.
            wanted: what the teacher's layers gave out, by name.
        """
        errors = []
        for adapter, (ours, theirs) in zip(self.adapters, self.pairs, strict=True):
            target = wanted[theirs].detach().float()
            errors.append(F.mse_loss(adapter(heard[ours].float()), target) / target.square().mean())
        return torch.stack(errors).mean()


@contextmanager
def matched(
    student: nn.Module,
    teacher: nn.Module,
    pairs: Mapping[str, str],
    data: Dataset,
    objective: Objective,
    weight: float,
) -> Iterator[tuple[Adapted, Objective]]:
    """Give what to train and what to minimise so that layers of the student follow layers of the teacher.

    Args:
        student: the net; trained in place.
        teacher: the net to listen to; `objective` must ask this very module.
        pairs: layer of the teacher, by layer of the student.
        data: gives the example on which the layers' shapes are seen.
        objective: what to minimise besides.
        weight: the weight of the match.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)  # the adapters' first weights
        adapted = Adapted(student, teacher, pairs, data.train.inputs[:2])

    def both(
        module: nn.Module, inputs: torch.Tensor, targets: torch.Tensor, index: torch.Tensor
    ) -> torch.Tensor:
        return objective(module, inputs, targets, index) + weight * adapted.distance(heard, wanted)

    with listening(student, pairs) as heard, listening(teacher, pairs.values()) as wanted:
        yield adapted, both


@contextmanager
def listening(module: nn.Module, layers: Iterable[str]) -> Iterator[dict[str, torch.Tensor]]:
    """Give a dictionary that always holds the last outputs of the named layers, while the block runs.

    Raises:
        ArgumentError: when a layer does not exist; names the nearest.

    >>> net = nn.Sequential(nn.Linear(2, 3), nn.ReLU())
    >>> with listening(net, ["0"]) as heard:
    ...     _ = net(torch.zeros(5, 2))
    >>> heard["0"].shape
    torch.Size([5, 3])
    """
    known = dict(module.named_modules())
    heard: dict[str, torch.Tensor] = {}

    def keep(name: str) -> Any:
        def hook(_layer: nn.Module, _inputs: Any, output: torch.Tensor) -> None:
            heard[name] = output

        return hook

    handles = []
    try:
        for name in layers:
            if name not in known:
                raise unknown("layer", name, filter(None, known))
            handles.append(known[name].register_forward_hook(keep(name)))
        yield heard
    finally:
        for handle in handles:
            handle.remove()


@torch.no_grad()
def _features(module: nn.Module, layers: Iterable[str], example: torch.Tensor) -> dict[str, torch.Tensor]:
    clone = copy.deepcopy(module).eval()
    with listening(clone, layers) as heard:
        clone(example.to(next(clone.parameters()).device))
    return heard


def _adapter(ours: tuple[str, torch.Tensor], theirs: tuple[str, torch.Tensor]) -> nn.Module:
    """Return a map from the student's features to the teacher's: the identity where they fit."""
    (student, small), (teacher, large) = ours, theirs
    if small.ndim != large.ndim or small.shape[2:] != large.shape[2:] or small.ndim not in {2, 4}:
        raise ModelError(
            f"student layer {student!r} gives {tuple(small.shape[1:])} a sample, teacher layer {teacher!r} "
            f"{tuple(large.shape[1:])}; only the first number, the width, may differ: choose other layers"
        )
    if small.shape == large.shape:
        return nn.Identity()
    widths = small.shape[1], large.shape[1]
    return (nn.Linear(*widths) if small.ndim == 2 else nn.Conv2d(*widths, 1)).to(small.device)
