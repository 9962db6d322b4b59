"""Fake quantization: a tensor is rounded as it will be in the file, and the step of the rounding is learned.

Source: S. Esser et al., "Learned step size quantization", arXiv:1902.08153.
"""

from __future__ import annotations

from math import sqrt

import torch
from torch import nn
from torch.nn import functional as F


def straight_through(levels: torch.Tensor) -> torch.Tensor:
    """Return whole numbers, whose gradient is as if nothing had been rounded.

    >>> straight_through(torch.tensor([0.4, 1.6])).tolist()
    [0.0, 2.0]
    """
    return levels + (levels.round() - levels).detach()


def fake_quantize(values: torch.Tensor, step: torch.Tensor, lowest: int, highest: int) -> torch.Tensor:
    """Round values to multiples of a step, from `lowest` to `highest` times the step.

    Gradients are those of the paper: for a value 1 within the range and 0 beyond it (equation 5); for the
    step `round(v/s) - v/s` within the range, `lowest` or `highest` beyond it (equation 3).

    Args:
        values: of any shape.
        step: broadcasts against it; above zero.
        lowest, highest: whole numbers, such as -127 and 127.

    >>> fake_quantize(torch.tensor([0.26, -9.0]), torch.tensor(0.1), -7, 7)
    tensor([ 0.3000, -0.7000])
    """
    return straight_through((values / step).clamp(lowest, highest)) * step


class LearnedStep(nn.Module):
    """Rounds activations to multiples of one learned step; the range grows and shrinks with it.

    What is learned is the logarithm of the step, so that a step of an optimizer changes all of them by
    the same part, whatever the scale of their layer.

    Args:
        step: the first step.
        lowest, highest: the range in steps, such as -127 and 127. With a zero point it is shifted by it.
    """

    def __init__(self, step: torch.Tensor, lowest: int, highest: int) -> None:
        super().__init__()
        self.log_step = nn.Parameter(step.detach().clone().log())
        self.lowest, self.highest = lowest, highest

    @property
    def step(self) -> torch.Tensor:
        """The step, in the shape that was given."""
        return self.log_step.exp()

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Return the rounded values."""
        return self._rounded(values, values[0].numel())

    def _rounded(self, values: torch.Tensor, share: int) -> torch.Tensor:
        """Round, with the gradient of the step scaled by how many values share it (section 2.2)."""
        part = 1 / sqrt(share * max(self.highest, -self.lowest))
        step = self.step * part + (self.step * (1 - part)).detach()
        return fake_quantize(values, step, self.lowest, self.highest)


class LearnedWeightStep(LearnedStep):
    """Rounds a weight; blocks of it, such as the weights of one output, have a step of their own.

    Args:
        step: (outputs or 1, blocks of an output, 1).
        highest: the range is from `-highest` to `highest` steps.
        block: how many weights of an output share a step.
        by_row: whether the weight is (outputs, …) rather than (inputs, outputs).
    """

    def __init__(self, step: torch.Tensor, highest: int, *, block: int, by_row: bool) -> None:
        super().__init__(step, -highest, highest)
        self.block, self.by_row = block, by_row

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Return the rounded weight, in its shape."""
        share = values.numel() // self.log_step.numel()
        rounded = self._rounded(self._blocks(values), share).flatten(1)
        rows = rounded[:, : values.numel() // len(rounded)]
        return rows.reshape(values.shape) if self.by_row else rows.T

    @torch.no_grad()
    def numbers(self, weight: torch.Tensor) -> torch.Tensor:
        """Return how many steps each weight is, as int8 in the weight's shape."""
        levels = (self._blocks(weight) / self.step).clamp(self.lowest, self.highest).round().flatten(1)
        rows = levels[:, : weight.numel() // len(levels)].to(torch.int8)
        return rows.reshape(weight.shape) if self.by_row else rows.T

    def _blocks(self, weight: torch.Tensor) -> torch.Tensor:
        rows = weight.flatten(1) if self.by_row else weight.T
        return F.pad(rows, (0, -rows.shape[1] % self.block)).reshape(len(rows), -1, self.block)


class BiasStep(nn.Module):
    """Rounds a bias to what an integer kernel adds to its sums: steps are the input's times the weight's."""

    def __init__(self, inputs: LearnedStep, weight: LearnedStep) -> None:
        super().__init__()
        self.inputs, self.weight = inputs, weight

    @property
    def step(self) -> torch.Tensor:
        """One step for each output, or one for all."""
        return (self.inputs.step * self.weight.step.flatten()).detach()

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Return the rounded bias."""
        return straight_through(values / self.step) * self.step

    @torch.no_grad()
    def numbers(self, bias: torch.Tensor) -> torch.Tensor:
        """Return how many steps each bias is, as int32."""
        return (bias / self.step).round().to(torch.int32)
