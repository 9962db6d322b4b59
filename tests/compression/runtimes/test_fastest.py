import json
from dataclasses import replace

import numpy as np
import pytest
import torch

import kit
from kit.compression.runtimes import fastest as room
from kit.compression.runtimes.race import gentlest, hopeful
from kit.errors import ArgumentError, ModelError

QUICK = {"seconds": 0.1, "samples": 500, "calibration": 50, "clock": "wall"}
FEW = [
    "onnxruntime fp32",
    "onnxruntime int8",
    "openvino fp32",
    "openvino int8 nncf",
    "torch bf16",
    "cuda fp16",
]


@pytest.fixture(scope="module")
def chosen(trained, fashion):
    """Picked with a wide tolerance: which one it is depends on the machine, all else does not."""
    return kit.fastest(trained, fashion, candidates=FEW, max_drop=3, **QUICK)


def test_every_candidate_is_listed_with_what_became_of_it(chosen):
    names = {one.name.split(",")[0] for one in chosen.report.tried}
    assert names == {*FEW} - {"torch bf16"} | {"torch bf16 channels_last"}
    assert [one.verdict for one in chosen.report.tried].count("chosen") == 1
    for one in chosen.report.tried:
        assert one.why
        assert (one.change is None) == (one.verdict == "not built")
        assert (one.speedup is None) == (one.verdict in {"not built", "screened out", "inaccurate"})
    if not torch.cuda.is_available():
        assert chosen.report["cuda fp16"].why == "this machine has no NVIDIA GPU that torch can use"


def test_each_is_tried_with_several_threads_and_measured_as_called(chosen):
    tried = [one for one in chosen.report.tried if one.change]
    for name in ("onnxruntime fp32", "openvino int8 nncf"):
        threads = {one.execution.threads for one in tried if one.name.startswith(f"{name},")}
        assert threads == {*room.thread_counts()}
    assert chosen.report.baseline.startswith("onnxruntime fp32")
    assert chosen.report["openvino fp32"].change.same.value > 0.995
    assert chosen.report["onnxruntime int8"].change.same.value > 0.9


def test_the_choice_is_the_fastest_of_those_measured_or_as_fast(chosen):
    measured = [one for one in chosen.report.tried if one.latency and one.verdict != "inaccurate"]
    best = max(measured, key=lambda one: one.speedup.value)
    assert chosen.report[chosen.report.chosen].speedup.value > 0.95 * best.speedup.value


def test_it_opens_as_chosen_also_from_its_folder(chosen, fashion, tmp_path):
    how = chosen.model.execution
    inputs = fashion.test.inputs[:32].numpy()
    folder = kit.save(chosen, tmp_path / "fast")
    loaded = kit.load(folder)
    assert loaded.model.execution == how == chosen.report[chosen.report.chosen].execution
    for model in (chosen, loaded, folder):
        with kit.open(model) as session:
            assert (session.runtime, session.threads) == (how.runtime, how.threads)
            assert np.allclose(session(inputs), chosen(inputs), atol=1e-5)
    card = json.loads((folder / "card.json").read_text())
    assert card["recipe"][-1]["verb"] == "fastest"
    assert card["report"]["chosen"] == chosen.report.chosen
    assert len(card["report"]["tried"]) == len(chosen.report.tried)


def test_the_report_can_be_read_and_shown(chosen):
    text, page = str(chosen.report), chosen.report._repr_html_()
    assert f"chosen: {chosen.report.chosen}" in text
    assert "Not built: cuda fp16: " in text or torch.cuda.is_available()
    assert page.count("<tr>") == 1 + sum(one.change is not None for one in chosen.report.tried)
    assert "at most 3 points lost" in text
    with pytest.raises(ArgumentError, match="unknown candidate"):
        chosen.report["openvino"]


def test_what_answers_otherwise_cannot_win(trained, fashion, monkeypatch):
    def ruined(source, target, inputs):
        import onnx

        model = onnx.load(source)
        weight = model.graph.initializer[0]
        values = onnx.numpy_helper.to_array(weight)
        weight.CopyFrom(onnx.numpy_helper.from_array(np.zeros_like(values), weight.name))
        onnx.save(model, target)

    monkeypatch.setattr("kit.compression.runtimes.forms.nncf_int8", ruined)
    found = kit.fastest(
        trained, fashion, candidates=["onnxruntime fp32", "onnxruntime int8 nncf"], threads=1, **QUICK
    )
    assert found.report["onnxruntime int8 nncf"].verdict == "inaccurate"
    assert "Not onnxruntime int8 nncf, 1 thread: only " in str(found.report)
    assert "of its answers are those of the given model" in found.report["onnxruntime int8 nncf"].why
    assert found.report.chosen == "onnxruntime fp32, 1 thread"
    with pytest.raises(ModelError, match="no candidate answers as the given model does"):
        kit.fastest(trained, fashion, candidates="onnxruntime int8 nncf", threads=1, **QUICK)


def test_a_file_stays_what_it_is(trained, fashion):
    int8 = kit.quantize(trained, fashion, calibration=50)
    names = ["onnxruntime fp32", "onnxruntime int8", "torch fp32"]
    found = kit.fastest(int8, fashion, candidates=names, threads=1, **QUICK)
    assert found.report.chosen == "onnxruntime as written, 1 thread"
    assert found.file == int8.file
    assert "quantized already" in found.report["onnxruntime int8"].why
    assert "not a PyTorch module" in found.report["torch fp32"].why


def test_on_the_cpu_clock_no_number_of_threads_is_chosen(trained, fashion):
    quick = QUICK | {"clock": "cpu"}
    found = kit.fastest(trained, fashion, candidates=["onnxruntime fp32", "openvino fp32"], **quick)
    assert found.model.execution.threads is None
    assert "no number of threads was chosen" in found.report.notes[0]
    with pytest.raises(ArgumentError, match="threads=1 or clock='wall'"):
        kit.fastest(trained, fashion, threads=2, **quick)


def test_arguments_are_checked_before_anything_is_built(trained, fashion):
    for settings in ({"max_drop": -1}, {"agreement": 2}, {"seconds": 0}, {"samples": 0}, {"batch_size": 0}):
        with pytest.raises(ArgumentError, match="expected max_drop >= 0"):
            kit.fastest(trained, fashion, **settings)
    with pytest.raises(ArgumentError, match="unknown candidate 'tpu'"):
        kit.fastest(trained, fashion, candidates=["tpu"])
    with pytest.raises(ModelError, match=r"no candidate can be built: cuda fp32: .*GPU"):
        kit.fastest(trained, fashion, candidates="cuda", **QUICK)


# ---- who wins, on made-up times ----------------------------------------------------------------------


class Timed(dict):
    """Stands for a benchmark: times of 12 blocks, 2 rounds, 3 calls around a median."""

    def __init__(self, **medians):
        noise = np.random.default_rng(0).normal(1, 0.001, (12, 2, 3))
        super().__init__(
            {
                name: type("T", (), {"times": value * noise, "ratio": type("R", (), {"value": value})})
                for name, value in medians.items()
            }
        )


def entries(trained, **ways):
    table = {way.name: way for way in room.ways()}
    return [
        room.Entry(replace(table[name], name=key), trained, None, "", 0.0, glance)
        for key, (name, glance) in ways.items()
    ]


def test_of_equals_the_gentlest_wins_and_a_shade_faster_is_not_enough(trained):
    racing = entries(trained, a=("openvino int8", 1.0), b=("openvino bf16", 1.0), c=("openvino fp32", 1.0))
    assert gentlest(racing, Timed(a=1.0, b=1.01, c=1.2)).name == "b"
    assert gentlest(racing, Timed(a=1.0, b=1.05, c=1.2)).name == "a"
    assert gentlest(racing, Timed(a=1.0, b=1.0, c=1.015)).name == "c"


def test_the_screening_lets_the_hopeful_through(trained):
    racing = entries(trained, a=("openvino int8", 1.0), b=("openvino bf16", 1.3), c=("openvino fp32", 1.5))
    assert [entry.name for entry in hopeful(racing)] == ["a", "b"]
    beaten = [replace(racing[0], objection="it loses 3 points"), *racing[1:]]
    assert [entry.name for entry in hopeful(beaten)] == ["b", "c"]
