"""Fake quantization on a few numbers: values, gradients, blocks."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from kit.compression.quantization.fake import BiasStep, LearnedStep, LearnedWeightStep, fake_quantize
from kit.compression.quantization.weight_only import rounded

VALUES = torch.tensor([-2.0, -0.63, -0.2, 0.0, 0.31, 0.74, 5.0])


def test_values_are_multiples_of_the_step_within_the_range():
    got = fake_quantize(VALUES, torch.tensor(0.25), -3, 2)
    assert got.tolist() == [-0.75, -0.75, -0.25, 0.0, 0.25, 0.5, 0.5]


def test_a_value_has_gradient_one_within_the_range_and_zero_beyond():
    values = VALUES.clone().requires_grad_()
    fake_quantize(values, torch.tensor(0.25), -3, 2).sum().backward()
    assert values.grad.tolist() == [0, 1, 1, 1, 1, 0, 0]


def test_the_step_has_the_gradient_of_the_paper():
    """Equation 3: `round(v/s) - v/s` within the range, its ends beyond it."""
    step = torch.tensor(0.25, requires_grad=True)
    for value in VALUES:
        step.grad = None
        fake_quantize(value, step, -3, 2).backward()
        levels = float(value) / 0.25
        wanted = -3 if levels <= -3 else 2 if levels >= 2 else round(levels) - levels
        assert step.grad.item() == pytest.approx(wanted, abs=1e-6)


def test_a_learned_step_scales_that_gradient_by_how_many_share_it():
    """Section 2.2: one over the root of values times levels; and times s, for its logarithm."""
    step = LearnedStep(torch.tensor(0.25), -3, 2)
    step(VALUES[None]).sum().backward()
    plain = torch.tensor(0.25, requires_grad=True)
    fake_quantize(VALUES, plain, -3, 2).sum().backward()
    wanted = plain.grad.item() * 0.25 / math.sqrt(len(VALUES) * 3)
    assert step.log_step.grad.item() == pytest.approx(wanted, rel=1e-5)


@pytest.mark.parametrize(
    ("shape", "block", "by_row"), [((6, 3, 3, 3), 27, True), ((40, 6), 16, False), ((6, 40), 8, True)]
)
def test_blocks_round_as_the_file_form_does(shape, block, by_row):
    weight = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    rows = (weight.flatten(1) if by_row else weight.T).numpy()
    blocks = np.pad(rows, ((0, 0), (0, -rows.shape[1] % block))).reshape(6, -1, block)
    numbers, scale = rounded(blocks, 4)
    step = LearnedWeightStep(torch.from_numpy(scale), 7, block=block, by_row=by_row)
    flat = step.numbers(weight)
    assert flat.shape == weight.shape
    assert flat.abs().max() == 7
    got = step(weight).detach()
    wanted = (numbers * scale).reshape(6, -1)[:, : rows.shape[1]]
    np.testing.assert_allclose(got.flatten(1) if by_row else got.T, wanted, rtol=1e-5)
    got_again = (step(weight) - weight).square().sum()
    assert got_again < weight.square().sum() * 0.02


def test_training_finds_a_range_that_ignores_an_outlier():
    values = torch.cat([torch.linspace(-1, 1, 400), torch.tensor([30.0])])
    step = LearnedStep(torch.tensor(30 / 7), -7, 7)
    before = (step(values[None]) - values).square()[0, :-1].mean()
    optimizer = torch.optim.Adam(step.parameters(), lr=0.02)
    for _ in range(300):
        optimizer.zero_grad()
        (step(values[None]) - values).abs().mean().backward()
        optimizer.step()
    after = (step(values[None]) - values).square()[0, :-1].mean()
    assert step.step.item() < 1
    assert after < before / 10


def test_a_bias_has_the_step_of_the_sums():
    weight = LearnedWeightStep(torch.tensor([[[0.1]], [[0.2]]]), 127, block=3, by_row=True)
    bias = BiasStep(LearnedStep(torch.tensor(0.5), 0, 255), weight)
    torch.testing.assert_close(bias.step, torch.tensor([0.05, 0.1]))
    torch.testing.assert_close(bias(torch.tensor([0.12, 0.12])), torch.tensor([0.10, 0.10]))
    assert bias.numbers(torch.tensor([0.12, -0.12])).tolist() == [2, -1]
