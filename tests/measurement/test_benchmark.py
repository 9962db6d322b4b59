import gc
import importlib.util
import json
import time
from pathlib import Path

import numpy as np
import pytest
import torch

import kit
from kit.errors import ArgumentError, DataError
from kit.runtime.onnx_model import OnnxModel

NOTHING = np.zeros((1, 1), np.float32)


def _load(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


harness = _load(Path(__file__).parents[1] / "benchmarks" / "harness.py")


@pytest.fixture(scope="module")
def file(trained, fashion):
    return kit.export(trained, data=fashion).renamed("net")


@pytest.mark.parametrize("name", harness.DELAYS)
def test_percentiles_of_known_delays_come_back_within_two_percent(name):
    # On the cpu clock, so that a busy machine changes nothing about what is known.
    errors = harness.recovery(harness.DELAYS[name], clock="cpu", seconds=1.5, blocks=6)
    assert np.abs(errors).max() < 0.02


def test_a_model_against_itself_is_seldom_told_apart(file):
    claims, _ = harness.false_alarms(file, 12, clock="cpu", seconds=0.1)
    assert claims["no difference shown"] >= 10  # of 12; two false alarms have a chance of 2 % if each has 5 %


def test_a_model_that_works_twice_is_found_twice_as_slow(file):
    with kit.open(file, threads=1) as once:

        def twice(inputs):
            once(inputs)
            return once(inputs)

        inputs = np.random.default_rng(0).random((8, 1, 28, 28), np.float32)
        found = kit.benchmark(
            {"once": once, "twice": twice}, inputs=inputs, batch_sizes=(8,), clock="cpu", seconds=0.3
        )
    assert found["twice"].verdict == "slower"
    assert found["twice"].ratio.value == pytest.approx(2, rel=0.1)
    assert found["once"].verdict == "baseline"


def test_candidates_take_turns_in_changing_order():
    calls = []

    def model(name):
        def call(inputs):
            calls.append(name)
            spin = time.perf_counter() + 2e-4
            while time.perf_counter() < spin:
                pass
            return inputs

        return call

    kit.benchmark(
        {name: model(name) for name in "ab"}, inputs=NOTHING, seconds=0.2, control=False, clock="wall"
    )
    turns = [name for name, before in zip(calls, [None, *calls], strict=False) if name != before]
    assert len(turns) > 40  # not one after the other
    assert {calls[0], calls[-1]} <= {"a", "b"}
    gaps = {calls[i + 1 :].index("a") for i, name in enumerate(calls[:-200]) if name == "b"}
    assert len(gaps) > 1


def test_files_are_opened_anew_in_each_block_and_sessions_are_not(file):
    found = kit.benchmark([file], blocks=7, seconds=0.1, memory=False, clock="cpu")
    assert found["net"].opening.n == 7
    with kit.open(file, threads=1) as session:
        found = kit.benchmark({"open": session}, blocks=6, seconds=0.1, clock="cpu", memory=False)
        assert found["open"].opening is None
        session(np.zeros((1, 1, 28, 28), np.float32))  # still open


def test_what_stands_under_the_figures_is_recorded(file, fashion):
    found = kit.benchmark([file], fashion, batch_sizes=(1, 4), seconds=0.1, blocks=6, clock="cpu")
    assert [(t.name, t.batch, t.role) for t in found.timings] == [
        (name, size, role)
        for size in (1, 4)
        for name, role in (("net", "model"), ("net again", "control"), ("an empty model", "overhead"))
    ]
    assert found.threads == 1
    assert found.at("net", 4).memory >= found["net"].memory > 0
    assert 0 < found.overhead.value < found["net"].latency.value
    assert found.control == found["net again"].ratio
    text = str(found)
    assert "cpu clock, 1 thread" in text
    assert kit.device.describe() in text
    assert max(map(len, text.splitlines())) <= 115
    stored = json.loads(json.dumps(found.to_dict()))
    assert stored["timings"][0]["latency"]["unit"] == "ms"
    assert stored["plans"]["4"][0] == 6
    html = found._repr_html_()
    assert html.count("<table") == html.count("<caption") == 2
    assert 'scope="row"' in html


def test_several_threads_on_the_cpu_clock_are_warned_of(file):
    found = kit.benchmark([file], seconds=0.05, blocks=6, threads=2, clock="cpu", memory=False)
    assert any("adds up 2 threads" in warning for warning in found.warnings)
    assert "Warning: the cpu clock" in str(found)


def test_torch_modules_and_functions_are_timed_as_they_are():
    net = torch.nn.Linear(4, 2)
    found = kit.benchmark([net, len], inputs=np.ones((3, 4), np.float32), seconds=0.05, blocks=6, clock="cpu")
    assert [t.name for t in found.timings] == ["linear", "len", "linear again", "an empty module"]
    assert found["linear"].memory is None
    assert "–" in str(found)


def test_equal_names_are_numbered_and_garbage_collection_is_given_back(file):
    assert gc.isenabled()
    found = kit.benchmark([file, file], seconds=0.05, blocks=6, clock="cpu", memory=False)
    assert [t.name for t in found.timings][:2] == ["net", "net (2)"]
    assert gc.isenabled()


def test_figures_carry_their_conditions(file, fashion):
    found = kit.benchmark(
        [file], fashion, batch_sizes=(1, 4), seconds=0.05, blocks=6, clock="cpu", memory=False
    )
    for figure in (found.plot(), found.plot_throughput()):
        assert "cpu clock" in figure._supxlabel.get_text()
        assert "n = 6 blocks" in figure._supxlabel.get_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"models": []}, "nothing to measure"),
        ({"models": [3]}, "cannot measure int"),
        ({"models": [len]}, "nothing says what an input is"),
        ({"models": [len], "inputs": NOTHING, "blocks": 5}, "blocks ≥ 6"),
        ({"models": [len], "inputs": NOTHING, "batch_sizes": (0,)}, "at least 1"),
        ({"models": [len], "inputs": NOTHING, "clock": "sundial"}, "unknown clock 'sundial'"),
    ],
)
def test_bad_arguments_are_refused(arguments, message):
    with pytest.raises(ArgumentError, match=message):
        kit.benchmark(**arguments)


def test_inputs_that_a_model_cannot_take_are_refused(file):
    with pytest.raises(DataError, match="expected inputs of shape"):
        kit.benchmark([file], inputs=np.zeros((2, 3), np.float32), seconds=0.05, blocks=6, clock="cpu")
    with pytest.raises(DataError, match="inputs is empty"):
        kit.benchmark([file], inputs=np.zeros((0, 1, 28, 28), np.float32))


def test_an_unknown_timing_names_the_known_ones(file):
    found = kit.benchmark([file], seconds=0.05, blocks=6, clock="cpu", memory=False)
    with pytest.raises(ArgumentError, match="did you mean 'net, batch 1'"):
        found["nett"]


def test_each_runtime_gets_an_empty_model_of_its_own(file, fashion):
    elsewhere = kit.Variant(OnnxModel(file.file, runtime="openvino"), "elsewhere", file.signature)
    found = kit.benchmark([file, elsewhere], fashion, seconds=0.1, blocks=6, clock="cpu")
    assert [t.name for t in found.timings if t.role == "overhead"] == [
        "an empty model",
        "an empty model on openvino",
    ]
    assert found.overhead_on("openvino") == found["an empty model on openvino"].latency
    assert found.overhead_on("onnxruntime") == found.overhead
    assert found["net"].memory > 0
    assert found["elsewhere"].memory is None  # measured on ONNX Runtime only
