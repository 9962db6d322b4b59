"""The history: which epoch was best, how it prints, and that it survives a trip through JSON."""

from __future__ import annotations

import json

import pytest

from kit.training import Epoch, History


def epoch(number, metric, loss=1.0, share=1.0):
    return Epoch(number, 1.0, loss, metric, 1e-3, 1000.0 * number, 0.1, share)


def test_best_is_highest_accuracy_then_lowest_loss_then_earliest():
    rows = [
        epoch(1, 0.8, 0.9),
        epoch(2, 0.9, 0.8),
        epoch(3, 0.9, 0.7),
        epoch(4, 0.9, 0.7),
        epoch(5, 0.5, 0.1),
    ]
    assert History("accuracy", rows).best.number == 3
    assert History("rmse", rows).best.number == 5
    assert History("accuracy").best is None
    assert History("accuracy", rows).samples_per_second == 3000


def test_an_epoch_that_ended_in_nan_is_never_best():
    rows = [epoch(1, float("nan"), float("nan")), epoch(2, 0.3, float("inf")), epoch(3, 0.3, 0.1)]
    assert History("accuracy", rows).best.number == 3
    assert History("rmse", rows[:2]).best.number == 2


def test_it_prints_a_table_with_the_choices_beneath():
    history = History(
        "accuracy", [epoch(1, 0.8), epoch(2, 0.9, share=0.25)], "interrupted", "bf16", reason="probe 2.0×"
    )
    head, first, second, how = str(history).splitlines()
    assert head.split() == ["epoch", "train", "loss", "valid", "loss", "valid", "accuracy", "lr", "samples/s"]
    assert first.split() == ["1", "1.0000", "1.0000", "0.8000", "0.001", "1,000"]
    assert second.split()[:2] == ["2", "(25%)"]
    assert second.endswith("best")
    assert how == "interrupted; bf16, contiguous, 1 thread on cpu (probe 2.0×)"
    assert history._repr_html_().count("<tr>") == 3


def test_a_long_run_prints_a_short_table_with_its_best():
    history = History("accuracy", [epoch(n, 0.9 if n == 333 else 0.5) for n in range(1, 1001)])
    lines = str(history).splitlines()
    assert len(lines) < 25
    assert any(line.split()[0] == "333" and line.endswith("best") for line in lines)
    assert lines[-2].split()[0] == "1000"


def test_json_and_back():
    history = History("rmse", [epoch(1, 0.8), epoch(2, 0.9)], "stopped", notes=["said"])
    again = History.from_dict(json.loads(json.dumps(history.to_dict())))
    assert again == history


@pytest.mark.parametrize("metric", ["accuracy", "rmse"])
def test_the_plot_names_the_best_epoch(metric):
    figure = History(metric, [epoch(1, 0.8), epoch(2, 0.9), epoch(3, 0.85)]).plot()
    losses, scores, rates = figure.axes
    assert [text.get_text() for text in losses.get_legend().get_texts()] == ["train", "valid"]
    assert metric in scores.get_ylabel()
    assert scores.texts[0].get_text() == {"accuracy": "best 90", "rmse": "best 0.8"}[metric]
    assert "learning rate" in rates.get_ylabel()
