from __future__ import annotations

import io

import numpy as np
import pytest
import soundfile
import torch

import kit
from kit.errors import ModelError
from kit.media import Sound
from kit.variant import Signature, Variant
from kit.widgets import Clip
from kit.widgets.clip import LONGEST


@pytest.fixture(scope="module")
def variant():
    sound = Sound()
    signature = Signature("classification", sound.shape, tuple("0123456789"), 10, media=sound)
    torch.manual_seed(0)
    return Variant(kit.models.spotter(width=8).eval(), "spotter", signature)


@pytest.fixture
def panel(variant):
    return Clip([variant, variant.renamed("twin")])


@pytest.fixture(scope="module")
def seven():
    return next(c.samples for c in kit.data.digit_clips() if c.digit == 7)


def wav(samples, rate=8000):
    content = io.BytesIO()
    soundfile.write(content, samples, rate, format="WAV")
    return content.getvalue()


def test_a_sound_gets_the_answer_that_the_pipeline_gives(panel, variant, seven):
    panel.ear.give(wav(seven), "seven.wav")
    expected = kit.pipeline(variant)(wav(seven))
    assert [a.outputs[0][0] for a in panel.answers] == [expected.label] * 2
    assert panel.answers[0].outputs[0][1] == pytest.approx(expected.probability, abs=1e-5)
    assert panel.frame.status.startswith("spotter: ")
    caption, header, rows = panel.table()
    assert (len(rows), len(header)) == (2, 6)
    assert "Clip" in caption
    assert panel.figure() is not None
    assert panel.code == 'kit.pipeline(variant)("clip.wav")'


def test_what_comes_from_the_browser_is_heard(panel, seven):
    panel.ear._handle_custom_msg({"name": "recording", "problem": ""}, [memoryview(wav(seven))])
    assert panel.answers
    panel.ear._handle_custom_msg({"name": "", "problem": "no microphone: denied"}, [])
    assert "no microphone" in panel.frame.alert
    assert panel.answers == []
    assert panel.ear.rate == 8000


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "0 bytes"),
        (b"no sound", "no sound that can be read"),
        (wav(np.zeros(8000, np.float32)), "silent"),
        (wav(0.1 * np.ones(8000 * 600, np.float32)), "10.0 minutes"),
    ],
    ids=["0 bytes", "text", "silence", "ten minutes"],
)
def test_what_is_no_word_is_said_and_the_next_one_works(panel, seven, content, words):
    panel.ear.give(wav(seven))
    panel.ear.give(content)
    assert words in panel.frame.alert
    assert panel.answers == []
    panel.ear.give(wav(seven))
    assert panel.frame.alert == ""
    assert panel.answers


def test_a_minute_is_taken(panel, seven):
    panel.ear.give(wav(np.tile(seven, LONGEST)))
    assert panel.frame.alert == ""


def test_a_net_for_pictures_is_refused(trained):
    with pytest.raises(ModelError, match="not sounds"):
        Clip(trained)
