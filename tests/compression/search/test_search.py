"""The whole search, in small: what it finds, what it shares, what ends it, and what it never looks at."""

from __future__ import annotations

import json
import os
import signal
import sys

import pytest

import kit
from kit.compression.search import search as room
from kit.compression.search.recipes import Recipe, Space
from kit.compression.search.steps import Steps
from kit.data.dataset import Dataset, Split
from kit.errors import ArgumentError, CorruptFileError, MissingExtraError, ModelError
from kit.training.control import Control, Stop

FIXED = {"methods": ("even",), "epochs": (1,), "taught": (True,), "runtimes": ("onnxruntime",)}
SPACE = Space(ratios=(0.0, 0.5), schemes=("none", "static"), **FIXED)
PLAIN = {"precision": "fp32", "layout": "contiguous", "lr": 3e-3, "batch_size": 64}
BUDGET = "lose at most 2 points; smallest"


class Sealed(Split):
    """A split that raises when its samples or targets are read, until it is opened."""

    closed = False

    def __getattribute__(self, name):
        if name in {"raw", "targets", "inputs"} and type(self).closed:
            raise AssertionError(f"the test split was read: {name}")
        return super().__getattribute__(name)


@pytest.fixture(scope="module")
def data(fashion):
    few = fashion.subset(1000, 500, 400)
    test = Sealed("test", few.test.raw, few.test.targets, few.test.preprocess)
    return Dataset(few.name, few.train, few.valid, test, few.signature)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("study")


@pytest.fixture(scope="module", autouse=True)
def opened(data):
    """Seal the test split while recipes are tried, and open it for the one comparison at the end."""
    real, looks = room.compare, []

    def compare(variants, data, **settings):
        Sealed.closed = False
        looks.append(settings["split"])
        return real(variants, data, **settings)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(room, "compare", compare)
        Sealed.closed = True
        yield looks
    Sealed.closed = False


def searched(model, data, *, budget=BUDGET, space=SPACE, **settings):
    Sealed.closed = True
    try:
        return kit.search(model, data, budget, space=space, seconds=0.02, confirm=2, **PLAIN, **settings)
    finally:
        Sealed.closed = False


@pytest.fixture(scope="module")
def found(trained, data, folder, opened):
    return searched(trained, data, trials=3, study=folder)


def test_the_winners_are_confirmed_once_on_test_and_nothing_else_reads_it(found, opened):
    assert opened == ["test"]
    assert found.split == "test"
    assert found.rows[0].name.endswith("as given")
    assert 2 <= len(found.rows) <= 3
    report = found.report
    assert (len(report.trials), report.ended, report.earlier) == (3, "finished", 0)
    assert [trial.recipe for trial in report.trials] == [Recipe(), *SPACE.first()]


def test_the_chosen_one_meets_the_budget_on_validation(found, trained, data):
    trial = found.report.chosen
    assert trial.measured
    assert trial.drop <= 2
    before, after = (kit.evaluate(v, data, split="valid").score for v in (trained, found.chosen))
    assert 100 * (before.value - after.value) == pytest.approx(trial.drop, abs=1e-6)
    assert found.chosen.file.stat().st_size == trial.bytes
    within = [t.bytes for t in found.report.trials if t.measured and t.drop <= 2]
    assert trial.bytes == min(within) < found.report.trials[0].bytes
    assert any("quantize" in str(step) for step in found.chosen.recipe)


def test_the_report_reads_well_and_is_fit_for_json(found):
    report, text = found.report, str(found.report)
    assert all(str(trial.recipe) in text for trial in report.trials)
    assert "★ best" in text
    assert "lose at most 2 points; smallest" in text
    assert str(report.chosen.recipe) in str(found)
    assert "<table" in report._repr_html_()
    stored = json.loads(json.dumps(found.to_dict()))
    assert stored["search"]["chosen"] == report.chosen.number
    assert stored["search"]["hypervolume"] == pytest.approx(report.hypervolume())
    assert report.hypervolume(worst=5) > report.hypervolume(worst=2) > 0
    assert len(report.plot().axes) == 1
    assert kit.widgets.Frontier(found).best.name in [row.name for row in found.rows]


def test_a_study_goes_on_where_it_ended_and_repeats_nothing(found, trained, data, folder):
    again = searched(trained, data, trials=3, study=folder)
    assert again.report.trials == found.report.trials
    assert again.report.earlier == 3
    assert not again.report.made
    assert again.chosen.name == found.chosen.name
    control = Control()
    control.stop()
    stopped = searched(trained, data, study=folder, trials=99, control=control)
    assert stopped.report.ended == "stopped"
    assert stopped.report.trials == found.report.trials
    assert stopped.chosen.name == found.chosen.name
    more = searched(trained, data, study=folder, trials=99)
    assert more.report.ended == "exhausted"
    assert more.report.trials[:3] == found.report.trials
    recipes = [trial.recipe for trial in more.report.trials]
    assert sorted(map(str, recipes)) == sorted(map(str, SPACE.recipes()))  # each once
    assert "finetune" not in more.report.made  # what was left shares the net that was tuned before
    assert not more.report.made.keys() & {"prune", "glimpse", "export"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"budget": "lose at most 1 point; smallest"}, "belongs to another budget; give another folder"),
        ({"space": Space(ratios=(0.25,))}, "another space"),
        ({"seed": 1}, "another training"),
        ({"weights": 2.0}, "another model"),
    ],
)
def test_a_study_of_something_else_is_refused(found, trained, data, folder, change, message):
    model = trained
    if "weights" in change:
        model = kit.models.convnet(widths=(8, 16, 32))
        change = {}
    with pytest.raises(ArgumentError, match=message):
        searched(model, data, study=folder, trials=3, **change)


def test_a_file_that_is_no_study_is_refused(trained, data, tmp_path):
    (tmp_path / "search.db").write_text("no database")
    with pytest.raises(CorruptFileError, match="holds no study"):
        searched(trained, data, study=tmp_path)


def test_recipes_share_the_steps_they_have_in_common(trained, data):
    steps = Steps(trained, None, data, space=SPACE, training={**PLAIN, "progress": False}, control=Control())
    pruned = [Recipe(ratio=0.5, epochs=1, scheme=scheme) for scheme in ("none", "static", "weights8")]
    files = [steps.finished(recipe) for recipe in pruned]
    assert steps.made == {"prune": 1, "finetune": 1, "export": 1, "quantize": 2}
    assert steps.shared == {"prune": 2, "finetune": 2, "export": 2}
    assert len({made.digest for made in files}) == 3
    steps.finished(Recipe(ratio=0.5, epochs=2))
    assert (steps.made["prune"], steps.made["finetune"], steps.made["export"]) == (1, 2, 2)
    # 8 of 8, 8 of 16 and 16 of 32 channels, whichever way: known by its weights, not by its settings
    assert steps.cut(Recipe(ratio=0.45, epochs=1)).digest == steps.cut(pruned[0]).digest
    steps.finished(Recipe(ratio=0.45, epochs=1))
    assert steps.made["finetune"] == 2


def press_ctrl_c(batch):
    os.kill(os.getpid(), signal.SIGINT)
    return batch


def test_ctrl_c_in_a_training_keeps_what_was_found(trained, data):
    space = Space(ratios=(0.5,), schemes=("none",), **FIXED)
    found = searched(trained, data, space=space, trials=5, augment=press_ctrl_c)
    assert found.report.ended == "interrupted"
    assert [trial.recipe for trial in found.report.trials] == [Recipe()]
    assert found.chosen.name.endswith("as given")
    with pytest.raises(KeyboardInterrupt):  # the handler of before is back
        os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.parametrize("presses", [1, 2])
def test_ctrl_c_while_the_winners_are_compared_keeps_the_chosen_one(trained, data, monkeypatch, presses):
    real, compared = room.compare, []

    def compare(variants, data, **settings):
        compared.append([variant.name for variant in variants])
        if len(compared) <= presses:
            press_ctrl_c(None)
        return real(variants, data, **settings)

    monkeypatch.setattr(room, "compare", compare)
    found = searched(trained, data, trials=4)
    assert found.report.ended == "interrupted"
    assert len(found.report.trials) == 4
    assert len(compared[1]) == 2
    assert [row.name for row in found.rows] == compared[1]
    assert found.chosen.name == compared[1][1]
    assert found.chosen.file.stat().st_size == found.report.chosen.bytes
    with pytest.raises(KeyboardInterrupt):  # the handler of before is back
        press_ctrl_c(None)


def test_a_listener_a_control_and_the_clock_end_it_too(trained, data):
    told = []

    def stop(news):
        told.append(news)
        raise Stop

    assert searched(trained, data, trials=9, on_trial=stop).report.ended == "stopped"
    assert told[0].done == 1
    assert told[0].left > 0
    assert told[0].best.recipe == Recipe()
    control = Control()
    ended = searched(trained, data, trials=9, on_trial=lambda _: control.stop(), control=control)
    assert ended.report.ended == "stopped"
    late = searched(trained, data, minutes=1e-9)
    assert late.report.ended == "out of time"
    assert [trial.recipe for trial in late.report.trials] == [Recipe()]
    with pytest.raises(ArgumentError, match="stopped before the model itself was measured"):
        searched(trained, data, control=control)


def test_a_budget_of_speed_tries_runtimes_and_a_student_is_another_net(trained, data, tmp_path):
    space = Space(ratios=(0.0,), schemes=("none",), runtimes=("onnxruntime", "openvino"), student_epochs=1)
    budget, student = "lose at most 90 points; fastest", kit.models.mobilenet(width=8)
    found = searched(trained, data, budget=budget, space=space, student=student, study=tmp_path)
    assert found.report.ended == "exhausted"
    assert {(t.recipe.net, t.recipe.runtime) for t in found.report.trials} == {
        (net, runtime) for net in ("given", "student") for runtime in space.runtimes
    }
    assert found.report.made["teach"] == 1
    assert found.report.made["export"] == 2
    times = [trial.ms for trial in found.report.trials]
    assert min(times) > 0
    assert found.report.chosen.ms == min(times)
    assert found.chosen.model.runtime == found.report.chosen.recipe.runtime
    assert kit.load(kit.save(found.chosen, tmp_path / "best")).model.runtime == found.chosen.model.runtime
    again = searched(trained, data, budget=budget, space=space, student=student, study=tmp_path)
    assert not again.report.made
    with pytest.raises(ArgumentError, match="another student"):
        searched(trained, data, budget=budget, space=space, study=tmp_path)


def test_a_recipe_that_fails_is_told_and_a_budget_out_of_reach_too(trained, data):
    space = Space(ratios=(0.01,), schemes=("none",), **FIXED)
    found = searched(trained, data, budget="at most 900 bytes; most accurate", space=space)
    given, failed = found.report.trials
    assert failed.outcome == "failed"
    assert "leaves every layer whole" in failed.reason
    assert "leaves every layer whole" in str(found.report)
    assert found.report.ended == "exhausted"
    assert found.chosen is None
    assert "Nothing tried keeps the budget" in str(found)
    assert given.excess(found.report.budget) > 0


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"minutes": 0}, "minutes must be above 0"),
        ({"trials": 0}, "trials must be a whole number of at least 1"),
        ({"sampler": "tpe2"}, "unknown sampler 'tpe2'"),
        ({"epochs": 3}, "space=Space"),
        ({"learning_rate": 3}, "unknown training setting"),
        ({"budget": "cheap"}, "cannot read 'cheap'"),
    ],
)
def test_arguments_are_checked_before_anything_is_trained(trained, data, settings, message):
    with pytest.raises(ArgumentError, match=message):
        searched(trained, data, **settings)


def test_a_file_cannot_be_searched(found, data):
    with pytest.raises(ModelError, match="not a PyTorch module"):
        searched(found.chosen, data, trials=1)


def test_without_optuna_the_extra_is_named(trained, data, monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(MissingExtraError, match=r"\.\[search\]"):
        searched(trained, data)
