from __future__ import annotations

import json

import pytest

from kit.errors import ArgumentError, CorruptFileError, StorageError
from kit.statistics import Measurement
from kit.widgets import Predict

QUESTION = "How many times faster?"
MEASURED = Measurement(1.02, 0.98, 1.06, 12)


@pytest.fixture
def file(tmp_path):
    return tmp_path / "predictions.json"


def test_a_number_is_committed_kept_and_compared(file):
    bet = Predict(QUESTION, unit="×", file=file)
    assert bet.code == "bet.commit(…)"
    bet.answer.value = "5,1 ×"
    assert bet.code == "bet.commit(5.1)"
    bet._commit.click()
    assert bet.prediction == 5.1
    assert bet.answer.disabled
    assert json.loads(file.read_text()) == {QUESTION: 5.1}
    bet.reveal(MEASURED)
    assert bet.verdict() == "You said 5.1×; it is 1.02× [0.98, 1.06]: 5× too high."
    assert bet.frame.status == bet.verdict()
    texts = [text.get_text() for text in bet.figure().axes[0].texts]
    assert texts == ["1.02×", "5.1×"]
    assert [row[1] for row in bet.table()[2]][:2] == ["5.1×", "1.02× [0.98, 1.06]"]


def test_it_is_still_there_after_the_kernel_was_restarted(file):
    Predict(QUESTION, file=file).commit(3)
    Predict("Another?", file=file).commit(4)
    again = Predict(QUESTION, file=file)
    assert again.prediction == 3
    assert again.frame.status == "Committed: 3."
    again.withdraw()
    assert not again.answer.disabled
    assert json.loads(file.read_text()) == {"Another?": 4}


def test_a_choice_is_right_or_a_surprise(file):
    for choice, verdict in (
        ("yes", "You said yes; it is yes. Right."),
        ("no", "You said no; it is yes. A surprise."),
    ):
        bet = Predict(f"{choice}?", ["yes", "no"], file=file)
        bet.answer.value = choice
        bet.commit()
        bet.reveal("yes")
        assert bet.verdict() == verdict
        assert bet.figure() is None


def test_a_guess_within_the_interval_is_said_to_be(file):
    bet = Predict(QUESTION, file=file)
    bet.commit(1)
    bet.reveal(MEASURED)
    assert bet.verdict().endswith("within the interval.")


def test_without_a_prediction_the_lesson_goes_on(file):
    bet = Predict(QUESTION, unit="×", file=file)
    bet.reveal(2)
    assert bet.verdict() == "It is 2×; no prediction was made."
    assert len(bet.figure().axes[0].texts) == 1
    with pytest.raises(ArgumentError, match="already"):
        bet.commit(2)
    assert not file.exists()


@pytest.mark.parametrize("typed", ["", "ten", "1.2.3"])
def test_what_is_no_number_is_refused_in_the_panel(file, typed):
    bet = Predict(QUESTION, file=file)
    bet.answer.value = typed
    bet._commit.click()
    assert "number" in bet.frame.alert
    assert bet.prediction is None
    assert not bet._commit.disabled


def test_answers_that_are_not_offered_are_refused(file):
    bet = Predict(QUESTION, ["the first", "the second"], file=file)
    bet._commit.click()
    assert "choose one" in bet.frame.alert
    for call in (bet.commit, bet.reveal):
        with pytest.raises(ArgumentError, match="did you mean 'the first'"):
            call("the frist")


def test_a_file_that_holds_something_else_is_left_alone(file):
    file.write_text("[1, 2]")
    bet = Predict(QUESTION, file=file)
    assert isinstance(bet.error, CorruptFileError)
    bet.answer.value = "2"
    bet._commit.click()
    assert "move it away" in bet.frame.alert
    assert bet.prediction == 2, "it holds until the kernel ends"
    assert file.read_text() == "[1, 2]"


def test_where_nothing_can_be_written_the_panel_says_so(tmp_path):
    (tmp_path / "file").write_text("")
    bet = Predict(QUESTION, file=tmp_path / "file" / "predictions.json")
    bet.answer.value = "2"
    bet._commit.click()
    assert isinstance(bet.error, StorageError)
    assert bet.prediction == 2
