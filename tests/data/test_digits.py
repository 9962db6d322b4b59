from __future__ import annotations

import numpy as np
import pytest

import kit
from kit.data import digits
from kit.errors import ArgumentError, CorruptFileError


@pytest.fixture(scope="module")
def clips():
    return kit.data.digit_clips()


def test_no_voice_of_the_test_split_is_heard_in_training(clips):
    voices = {
        split: {c.voice for c in clips if c.split == split} for split in ("train", "valid", "test", "real")
    }
    assert [len(v) for v in voices.values()] == [52, 9, 10, 3]
    assert len(set.union(*voices.values())) == 74


def test_every_voice_says_every_digit(clips):
    for split, times in (("train", 52 * 3), ("valid", 27), ("test", 30)):
        counts = np.bincount([c.digit for c in clips if c.split == split])
        assert counts.tolist() == [times] * 10


def test_a_clip_is_a_second_with_its_word_in_the_middle(clips):
    for clip in clips[::50]:
        assert clip.samples.shape == (8000,)
        loud = np.flatnonzero(np.abs(clip.samples) > 0.1 * np.abs(clip.samples).max())
        assert 0.25 < (loud[0] + loud[-1]) / 16000 < 0.75


def test_the_data_set_and_its_two_tests():
    heard, real = kit.data.spoken_digits(), kit.data.spoken_digits(test="real")
    assert repr(heard).endswith("1,560 train + 270 valid + 300 test, 10 classes, input (1, 40, 62))")
    assert len(real.test) == 22
    assert float(heard.train.inputs.mean()) == pytest.approx(0, abs=0.1)
    assert float(heard.train.inputs.std()) == pytest.approx(1, abs=0.1)
    with pytest.raises(ArgumentError, match="did you mean 'real'"):
        kit.data.spoken_digits(test="reel")


def test_a_changed_file_is_refused(monkeypatch):
    monkeypatch.setitem(digits._SUMS, "clips.csv", "0" * 64)
    with pytest.raises(CorruptFileError, match=r"clips\.csv is corrupt: SHA-256"):
        kit.data.digit_clips()
