import runpy
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import nn

import kit
from kit.conversion.parity import check
from kit.errors import ArgumentError, ParityError

MUTANTS = runpy.run_path(str(Path(__file__).parent.parent / "benchmarks" / "mutants.py"))


@pytest.fixture(scope="module")
def samples(fashion):
    return fashion.valid.inputs[:200].numpy()


@pytest.fixture(scope="module")
def good(trained, fashion):
    return kit.export(trained, data=fashion)


def reports(module, samples, tolerance, only=None):
    answers = MUTANTS["expected"](module, samples)
    return {
        name: check(path, samples, answers, batches=(1, 17), tolerance=tolerance)
        for name, path in MUTANTS["mutants"](module, samples)
        if only is None or name in only
    }


def test_every_mutant_of_a_residual_net_is_caught_and_the_good_file_is_not(trained, good, samples):
    found = reports(trained.module.eval(), samples, good.report.tolerance)
    assert found.pop("good").agreed
    assert len(found) >= 25
    assert [name for name, report in found.items() if report.agreed] == []
    suspected = {
        "late bias off by a thousandth": "bias",
        "two classes swapped": "order: outputs [2, 4]",
        "batch frozen in the declaration": "batch",
        "batch frozen in a reshape": "batch",
        "samples of a batch rolled": "batch: right in batches of 1",
        "channels last declared": "layout",
        "height and width swapped": "layout",
        "input declared as float16": "dtype",
        "weight not a number": "dtype",
        "softmax added": "softmax",
        "side file removed": "side file",
        "file cut short": "file: it is damaged",
    }
    wrong = {
        name: found[name].suspects for name, word in suspected.items() if word not in found[name].suspects[0]
    }
    assert wrong == {}


def test_a_softmax_left_out_is_told_from_other_faults(fashion, samples):
    net = nn.Sequential(nn.Flatten(), nn.Linear(784, 10), nn.Softmax(-1)).eval()
    found = reports(net, samples, 1e-5, only={"good", "softmax left out", "softmax added"})
    assert len(found) == 3
    assert found["softmax left out"].suspects[0].startswith("softmax: the original ends with one")
    assert [name for name, report in found.items() if report.agreed] == ["good"]


def test_the_first_differing_input_and_its_values_are_shown(good, samples):
    expected = good(samples)
    expected[137, 3] += 0.5
    report = check(good.file, samples, expected, tolerance=1e-4)
    assert report.first.index == 137
    assert report.first.expected[3] == pytest.approx(report.first.got[3] + 0.5, abs=1e-4)
    assert report.max_abs == pytest.approx(0.5, abs=1e-4)
    with pytest.raises(ParityError, match="first at input 137"):
        report.require()


def test_a_near_tie_within_the_tolerance_is_no_disagreement(good, samples):
    got = good(samples)
    order = got.argsort(1)
    rows = np.arange(len(got))
    expected = got.copy()
    middle = (got[rows, order[:, -1]] + got[rows, order[:, -2]]) / 2
    expected[rows, order[:, -1]] = middle - 1e-3  # the runner-up is ahead by a hair
    expected[rows, order[:, -2]] = middle + 1e-3
    near = np.abs(got - expected).max(1) <= 0.05
    assert 0 < near.sum() < len(near)
    report = check(good.file, samples[near], expected[near], tolerance=0.05)
    assert report.agreed
    assert report.disagreements == 0
    strict = check(good.file, samples, expected, tolerance=1e-4)
    assert strict.disagreements == len(samples)


def test_outputs_that_are_not_numbers_never_agree(good, samples):
    expected = np.full_like(good(samples), np.nan)
    assert not check(good.file, samples, expected, tolerance=1e9).agreed


def test_a_file_that_kills_its_process_is_caught(good, samples, tmp_path):
    path = tmp_path / "deep.onnx"
    path.write_bytes(b"\x0a" * 100_000)
    report = check(path, samples, good(samples))
    assert not report.agreed
    assert report.problem


def test_the_fresh_process_does_not_load_torch(tmp_path):
    import subprocess
    import sys

    code = "import kit.conversion.parity, kit.runtime.onnx_model, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_expected_outputs_may_differ_by_batch_size(good, samples):
    answers = {1: good(samples), 5: good(samples) + 1}
    report = check(good.file, samples, answers, batches=(1, 5), tolerance=1e-3)
    assert report.first.batch == 5


def test_a_multi_dimensional_regression_output_is_compared(tmp_path):
    class Map(nn.Module):
        def forward(self, x):
            return torch.stack([x, -x], 1)

    inputs = np.random.default_rng(0).normal(size=(40, 6)).astype(np.float32)
    from kit.conversion.graph import to_onnx

    path = tmp_path / "map.onnx"
    onnx.save(to_onnx(Map(), torch.from_numpy(inputs[:3]), opset=20), path)
    expected = np.stack([inputs, -inputs], 1)
    assert check(path, inputs, expected).agreed
    expected[7, 1, 2] += 1
    assert check(path, inputs, expected).first.index == 7


def test_nothing_to_compare_is_an_error(good, samples):
    with pytest.raises(ArgumentError, match="one expected output each"):
        check(good.file, samples[:0], np.zeros((0, 10), np.float32))
    with pytest.raises(ArgumentError, match="one expected output each"):
        check(good.file, samples, np.zeros((3, 10), np.float32))
