"""Bits per layer: scanned one at a time, spent under a budget that the real file keeps."""

from __future__ import annotations

import copy
import json
from itertools import product
from math import inf

import numpy as np
import pytest
import torch

import kit
from kit.compression.distillation.distill import soft_loss
from kit.compression.quantization.bits import BITS, knapsack
from kit.conversion.export import export
from kit.errors import ArgumentError
from kit.measurement.predict import logits

PLAIN = {"precision": "fp32", "layout": "contiguous"}  # not what a probe finds fastest today


@pytest.fixture(scope="module")
def separable(fashion):
    return kit.train(kit.models.mobilenet(width=16), fashion, epochs=3, lr=1e-2, seed=0, **PLAIN)


@pytest.fixture(scope="module")
def scan(separable, fashion):
    return kit.bit_sensitivity(separable, fashion)


@pytest.fixture(scope="module")
def uniform(separable, fashion, scan):
    """The same bits in every layer."""
    return {
        bits: kit.quantize(separable, fashion, scheme="mixed", bits=dict.fromkeys(scan.trials, bits))
        for bits in BITS
    }


def size(variant):
    return variant.file.stat().st_size


def loss(variant, dense, data):
    answers = (torch.from_numpy(logits(model, data.valid)) for model in (variant, dense))
    return float(soft_loss(*answers, temperature=1.0))


def bits_of(variant):
    return {row.name: row.bits for row in variant.report.layers}


def test_each_layer_alone_costs_more_with_fewer_bits(scan, fashion):
    assert list(scan.trials) == ["0.0", "1.0", "1.3", "2.0", "2.3", "3.0", "3.3", "6"]
    assert scan.dense.loss == pytest.approx(0, abs=1e-6)
    assert scan.dense.score.n == len(fashion.valid)
    for few, many in scan.trials.values():
        assert few.loss > many.loss > 0
        assert few.bytes < many.bytes < scan.dense.bytes


@pytest.mark.parametrize("share", [0.0, 0.3, 0.7, 1.0, 1.6])
def test_the_real_file_keeps_the_budget_and_uniform_bits_are_no_better(share, separable, uniform, fashion):
    least, most = size(uniform[4]), size(uniform[8])
    budget = int(least + share * (most - least))
    mixed = kit.quantize(separable, fashion, scheme="mixed", budget=budget)
    assert size(mixed) == mixed.report.bytes_after <= budget
    assert mixed.recipe[-1].settings["bits"] == {k: v for k, v in bits_of(mixed).items() if v < 32}
    for other in uniform.values():
        if size(other) <= budget:
            assert loss(mixed, separable, fashion) <= loss(other, separable, fashion) + 1e-6
    if share == 0.3:
        assert set(bits_of(mixed).values()) >= {4, 8}
        assert size(mixed) > least + 0.1 * (most - least)  # what may be spent is spent


def test_a_budget_for_all_of_it_leaves_the_net_nearly_whole(separable, scan, fashion):
    mixed = kit.quantize(separable, fashion, scheme="mixed", budget=scan.dense.bytes - 1000)
    assert 32 in bits_of(mixed).values()
    assert loss(mixed, separable, fashion) < 1e-3


def test_a_layer_that_is_made_fragile_gets_more_bits(separable, scan, uniform, fashion):
    """The net computes the same, but the inputs of one layer now differ in scale, and so do its weights."""
    fragile = copy.deepcopy(separable.module)
    norm, pointwise = fragile[2][1], fragile[2][3]
    scales = torch.logspace(-1.5, 1.5, norm.num_features)[torch.randperm(norm.num_features)]
    with torch.no_grad():
        norm.weight *= scales
        norm.bias *= scales
        pointwise.weight /= scales[None, :, None, None]
    few = fashion.valid.inputs[:100].numpy()
    np.testing.assert_allclose(kit.Variant(fragile, "", fashion.signature)(few), separable(few), atol=1e-3)
    again = kit.bit_sensitivity(fragile, fashion)
    assert again.trials["2.3"][0].loss > 5 * scan.trials["2.3"][0].loss
    assert max(again.trials, key=lambda layer: again.trials[layer][0].loss) == "2.3"
    budget = int(0.7 * size(uniform[4]) + 0.3 * size(uniform[8]))
    assert scan.bits(budget)["2.3"] < again.bits(budget)["2.3"]
    mixed = kit.quantize(fragile, fashion, scheme="mixed", budget=budget)
    assert bits_of(mixed)["2.3"] >= 8 > min(bits_of(mixed).values())


def test_a_budget_out_of_reach_names_the_smallest_file(separable, uniform, fashion, scan):
    with pytest.raises(ArgumentError, match=rf"out of reach: the smallest file.* has {size(uniform[4]):,}"):
        kit.quantize(separable, fashion, scheme="mixed", budget=size(uniform[4]) - 1)
    with pytest.raises(ArgumentError, match="out of reach: the fewest bits everywhere leave about"):
        scan.bits(1000)


def test_mixed_bits_can_be_trained_and_start_from_a_file(separable, fashion, uniform):
    file = export(separable, data=fashion)
    few = fashion.subset(1000, 500, 100)
    mixed = kit.quantize(file, few, scheme="mixed", budget=size(uniform[8]), finetune=1, **PLAIN)
    assert size(mixed) <= size(uniform[8])
    assert mixed.report.learned.parity > 80


def test_the_scan_can_be_read_drawn_and_stored(scan):
    lines = str(scan).splitlines()
    assert len(lines) == 2 + len(scan.trials)
    assert lines[1].split()[0] == "layer"
    assert scan._repr_html_().count("<tr>") == 9
    axis = scan.plot().axes[0]
    assert [label.get_text() for label in axis.get_yticklabels()] == list(scan.trials)
    stored = json.loads(json.dumps(scan.to_dict()))
    assert stored["trials"]["6"][1]["bits"] == {"6": 8}


def test_the_knapsack_finds_the_best_choice():
    """Against all choices, on random rows."""
    generator = np.random.default_rng(0)
    for room in (0, 3, 7, 12, 40):
        losses = generator.random((5, 3)).tolist()
        costs = [[0, *map(int, generator.integers(1, 6, 2))] for _ in losses]
        chosen = knapsack(losses, costs, room)
        every = {
            picks: sum(row[place] for row, place in zip(losses, picks, strict=True))
            for picks in product(range(3), repeat=5)
            if sum(row[place] for row, place in zip(costs, picks, strict=True)) <= room
        }
        assert every.get(tuple(chosen), inf) == pytest.approx(min(every.values()))
