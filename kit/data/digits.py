"""Spoken digits: synthetic voices to learn from, voices never heard to test on, and real people."""

from __future__ import annotations

import csv
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from kit.data.bundled import bundled, verify
from kit.data.dataset import Dataset, Split
from kit.data.sounds import log_mel
from kit.errors import unknown
from kit.media import Sound
from kit.variant import Preprocess, Signature

if TYPE_CHECKING:
    from numpy.typing import NDArray

SPOKEN = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
_SUMS = {
    "clips.csv": "37cb1707836486072fc605bb758d56c77b03bc5cb075d664ccb435e5846426db",
    "voices-1.ogg": "2985053d3b008d88a538c648737db1d6d496366052b5d8e7cf077058f16d49c1",
    "voices-2.ogg": "4e57b137c56a2907d545a9a77e78099933c617534e8fccee89b5ddff204be7cd",
    "voices-3.ogg": "0331b2990b0014b271b605666e710a244338432329c514e01b075650e69321ba",
    "allison.flac": "571a4b4ee45ff73461f35a4bddfa6835af5929f3849dc1f315aac73aaf4eb315",
    "pocketsphinx.flac": "190c6dcff96e1b02edc38ab211961f393cb381948ebf94a083a2852bb9836518",
}
_ORIGIN = "espeak-ng and flite voices (own synthesis); real speakers: see data/README.md"


class Clip(NamedTuple):
    """One spoken digit.

    Attributes:
        samples: one second at 8 kHz, (8000,) float32, the word in its middle.
        digit: what was said.
        voice: who said it.
        split: "train", "valid", "test" or "real".
    """

    samples: NDArray[np.float32]
    digit: int
    voice: str
    split: str


def digit_clips() -> list[Clip]:
    """Read the bundled clips: 2,130 synthesised ones of 71 voices, and 22 of real speakers.

    Raises:
        CorruptFileError: when a file's SHA-256 is not the recorded one.
    """
    verify(bundled("spoken-digits"), _SUMS)
    return [clip._replace(samples=clip.samples.copy()) for clip in _decoded()]


@cache
def _decoded() -> tuple[Clip, ...]:
    """Decode the files: seconds, so once in a process."""
    import soundfile

    folder = bundled("spoken-digits")
    rate = Sound().rate
    sounds = {
        name: soundfile.read(folder / name, dtype="float32")[0].reshape(-1, rate)
        for name in _SUMS
        if not name.endswith(".csv")
    }
    places = dict.fromkeys(sounds, 0)
    clips = []
    with (folder / "clips.csv").open(encoding="ascii", newline="") as file:
        for row in csv.DictReader(file):
            name = row["file"]
            clips.append(Clip(sounds[name][places[name]], int(row["digit"]), row["voice"], row["split"]))
            places[name] += 1
    return tuple(clips)


def spoken_digits(*, test: str = "unheard") -> Dataset:
    """Load spoken English digits as spectrograms: "zero" to "nine", a second each. Bundled.

    52 synthetic voices train and 9 others validate. The test split holds 10 voices that are in neither,
    or, with `test="real"`, 22 words of real people: what synthetic voices teach does not all hold there.

    Args:
        test: "unheard" or "real".

    Raises:
        CorruptFileError: when a file's SHA-256 is not the recorded one.

    Source: data/spoken-digits/make.py.

    >>> import kit
    >>> kit.data.spoken_digits()
    Dataset('spoken-digits': 1,560 train + 270 valid + 300 test, 10 classes, input (1, 40, 62))
    """
    if test not in _TESTS:
        raise unknown("test", test, _TESTS)
    sound, clips = Sound(), digit_clips()
    preprocess = Preprocess(1.0, (-3.6,), (0.9,))
    signature = Signature("classification", sound.shape, SPOKEN, 10, preprocess, sound)
    train, valid, held = (
        _split(name, [clip for clip in clips if clip.split == part], sound, preprocess)
        for name, part in (("train", "train"), ("valid", "valid"), ("test", _TESTS[test]))
    )
    name = "spoken-digits" if test == "unheard" else "spoken-digits (real speakers)"
    return Dataset(name, train, valid, held, signature, _ORIGIN)


_TESTS = {"unheard": "test", "real": "real"}


def _split(name: str, clips: list[Clip], sound: Sound, preprocess: Preprocess) -> Split:
    samples = torch.from_numpy(np.stack([clip.samples for clip in clips]))
    targets = torch.tensor([clip.digit for clip in clips], dtype=torch.int64)
    return Split(name, log_mel(samples, sound), targets, preprocess)
