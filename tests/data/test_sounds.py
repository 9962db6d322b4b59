from __future__ import annotations

import io
import tracemalloc

import numpy as np
import pytest
import soundfile
import torch
from scipy import signal

import kit
from kit.data import log_mel, read_sound
from kit.data.sounds import blocks, loudest, mel_filters, resampled
from kit.errors import DataError, ModelError
from kit.media import Sound
from kit.variant import Signature

SOUND = Sound()
HEARS = Signature("classification", SOUND.shape, tuple("ab"), 2, media=SOUND)


def tone(rate, seconds=1.0, pitch=440.0):
    return (0.5 * np.sin(2 * np.pi * pitch * np.arange(int(rate * seconds)) / rate)).astype(np.float32)


def file(samples, rate, kind="WAV", **how):
    content = io.BytesIO()
    soundfile.write(content, samples, rate, format=kind, **how)
    return content.getvalue()


@pytest.fixture(scope="module")
def seven():
    return next(c.samples for c in kit.data.digit_clips() if c.split == "real" and c.digit == 7)


def test_log_mel_is_that_of_scipy_and_of_the_formula(seven):
    """The spectrum by scipy's own transform, the filters written out as Slaney's triangles."""
    _, _, spectrum = signal.stft(
        np.pad(seven, 128, mode="reflect"),
        window="hann",
        nperseg=256,
        noverlap=128,
        boundary=None,
        padded=False,
        detrend=False,
        scaling="spectrum",
    )
    energy = np.abs(spectrum[:, :62] * 128) ** 2  # scipy divides by the sum of the window
    bins = np.arange(129) * 8000 / 256

    def hertz(mel):
        return mel * 200 / 3 if mel < 15 else 1000 * 6.4 ** ((mel - 15) / 27)

    top = 15 + 27 * np.log(4) / np.log(6.4)
    edges = [hertz(k * top / 41) for k in range(42)]
    bands = np.zeros((40, 62))
    for k, (low, middle, high) in enumerate(zip(edges, edges[1:], edges[2:], strict=False)):
        weight = np.interp(bins, [low, middle, high], [0, 2 / (high - low), 0], left=0, right=0)
        bands[k] = weight @ energy
    decades = np.log10(np.maximum(bands, 1e-10))
    expected = np.maximum(decades - decades.max(), -SOUND.floor)
    found = log_mel(torch.from_numpy(seven)[None], SOUND)[0, 0].numpy()
    assert np.abs(found - expected).max() < 1e-3


def test_whispers_filters_come_out_of_the_same_formula():
    """Figures of transformers 5.23, `mel_filter_bank(201, 80, 0, 8000, 16000, "slaney", "slaney")`."""
    filters = mel_filters(Sound(16000, 16000, 400, 160, 80))
    assert filters.shape == (80, 201)
    found = [float(filters[0, 1]), float(filters[40].max()), float(filters[79].max()), float(filters.sum())]
    assert found == pytest.approx(WHISPER, rel=1e-5)


WHISPER = [0.024862593984176, 0.014735565741439, 0.003164711739176, 1.999024102917783]


@pytest.mark.parametrize("rate", [8000, 11025, 16000, 22050, 44100, 48000, 96000, 7919])
def test_any_rate_gives_the_same_sound(rate):
    found, expected = resampled(tone(rate), rate, 8000), tone(8000)
    assert abs(len(found) - 8000) <= 1
    assert np.abs(found[200:7800] - expected[200:7800]).max() < 5e-3


def test_what_the_new_rate_cannot_carry_is_left_out():
    assert np.abs(resampled(tone(44100, pitch=9000), 44100, 8000)[200:-200]).max() < 0.01


@pytest.mark.parametrize(
    ("kind", "how", "near"),
    [("WAV", {}, 0.01), ("FLAC", {}, 0.01), ("OGG", {"subtype": "VORBIS"}, 0.4), ("MP3", {}, 0.4)],
)
def test_every_kind_of_file_rate_and_channel_says_the_same(tmp_path, seven, kind, how, near):
    expected = read_sound((seven, 8000), HEARS)
    wide = resampled(seven, 8000, 44100)
    stereo = np.stack([wide, wide], 1)
    path = tmp_path / "sound"
    path.write_bytes(file(stereo, 44100, kind, **how))
    loud = expected > -2  # a codec may change what is hardly heard
    for source in (path, str(path), path.read_bytes()):
        assert float((read_sound(source, HEARS) - expected)[loud].abs().mean()) < near


def test_a_quiet_and_a_loud_take_are_one(seven):
    loud, quiet = (read_sound((factor * seven, 8000), HEARS) for factor in (1.0, 0.01))
    assert torch.allclose(loud, quiet, atol=1e-3)


def test_integers_are_scaled(seven):
    whole = (seven * 32767).astype(np.int16)
    assert torch.allclose(read_sound((whole, 8000), HEARS), read_sound((seven, 8000), HEARS), atol=0.2)


def test_the_word_is_found_in_a_long_silence_also_across_blocks(seven):
    for start in (5.0, 29.6):  # blocks end at 30 s
        long = np.zeros(8000 * 65, np.float32)
        at = int(start * 8000)
        long[at : at + 8000] = seven
        assert np.allclose(loudest((long, 8000), SOUND), loudest((seven, 8000), SOUND), atol=1e-6)


def test_an_hour_needs_no_more_memory_than_a_minute(tmp_path):
    path = tmp_path / "hour.wav"
    with soundfile.SoundFile(path, "w", 8000, 1) as hour:
        for _ in range(60):
            hour.write(tone(8000, 60))
    tracemalloc.start()
    assert read_sound(path, HEARS).shape == SOUND.shape
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 60e6  # the hour itself is 115 MB of floats


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (b"", "0 bytes"),
        (b"RIFF no sound at all", "no sound that can be read"),
        (file(np.zeros(0, np.float32), 8000), "no samples"),
        ((np.zeros(8000, np.float32), 8000), "silent"),
        ((np.array([0.1, np.nan], np.float32), 8000), "NaN or infinity"),
        ((np.full(9, np.inf), 8000), "NaN or infinity"),
        (file(np.full(8000, np.nan, np.float32), 8000, subtype="FLOAT"), "NaN or infinity"),
        ((np.zeros((2, 2, 2)), 8000), "expected samples"),
        ("/nowhere/at/all.wav", "is no file"),
        (7, "expected a sound"),
    ],
)
def test_what_is_no_sound_says_so(source, words):
    with pytest.raises(DataError, match=words):
        read_sound(source, HEARS)


def test_a_truncated_file_is_read_as_far_as_it_goes_or_refused(seven):
    content = file(seven, 8000)
    assert read_sound(content[: len(content) // 2], HEARS).shape == SOUND.shape


def test_a_net_for_pictures_takes_no_sound(seven):
    with pytest.raises(ModelError, match="not sounds"):
        read_sound((seven, 8000), Signature("classification", (1, 28, 28), tuple("ab"), 2))


def test_blocks_are_one_sound():
    parts = list(blocks((tone(8000, 70), 8000), 8000))
    assert [len(p) for p in parts] == [240_000, 240_000, 80_000]
    assert np.array_equal(np.concatenate(parts), tone(8000, 70))
