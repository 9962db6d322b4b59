"""Sounds as a model's raw input: any file, rate and number of channels, in bounded memory."""

from __future__ import annotations

import io
from functools import cache
from math import gcd
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from kit.errors import DataError, ModelError
from kit.media import Sound

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from kit.variant import Signature

    Samples = NDArray[np.float32]

_CROSSINGS = 8  # zero crossings of the resampling filter on each side
_ENDINGS = "WAV, FLAC, OGG and MP3 are safe"


def log_mel(samples: torch.Tensor, sound: Sound) -> torch.Tensor:
    """Return the spectrogram of sounds: decades of energy in mel bands, from -floor to 0, the loudest.

    Before the last step this is Whisper's; measured from the loudest, a quiet and a loud take are one.

    Args:
        samples: (N, sound.samples) float32.
        sound: the settings.

    Returns:
        (N, 1, bands, frames) float32.

    Source: https://github.com/openai/whisper/blob/main/whisper/audio.py; M. Slaney, "Auditory Toolbox", 1998.
    """
    window = torch.hann_window(sound.window)
    spectrum = torch.stft(
        samples, sound.window, sound.hop, window=window, return_complex=True, pad_mode="reflect"
    )
    energy = mel_filters(sound) @ spectrum[..., : sound.samples // sound.hop].abs().square()
    decades = energy.clamp(min=1e-10).log10()
    return (decades - decades.amax((1, 2), keepdim=True)).clamp(min=-sound.floor)[:, None]


@cache
def mel_filters(sound: Sound) -> torch.Tensor:
    """Return Slaney's triangular filters (bands, window // 2 + 1), each of area 1 over frequency."""
    pitch = np.linspace(0, _mel(np.array(sound.rate / 2)), sound.bands + 2)
    edges = np.where(pitch < 15, pitch * 200 / 3, 1000 * np.exp(np.log(6.4) / 27 * (pitch - 15)))
    bins = np.linspace(0, sound.rate / 2, sound.window // 2 + 1)
    low, middle, high = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    rise, fall = (bins - low) / (middle - low), (high - bins) / (high - middle)
    filters = np.maximum(0, np.minimum(rise, fall)) * 2 / (high - low)
    return torch.from_numpy(filters.astype(np.float32))


def _mel(hertz: NDArray[np.float64]) -> NDArray[np.float64]:
    """Slaney's scale: even up to 1 kHz, logarithmic above."""
    return np.where(
        hertz < 1000, hertz * 3 / 200, 15 + np.log(np.maximum(hertz, 1) / 1000) * 27 / np.log(6.4)
    )


def resampled(samples: Samples, rate: int, to: int) -> Samples:
    """Return samples at another rate, by a windowed sinc that holds back what the new rate cannot carry.

    Source: J. O. Smith, "Digital audio resampling", https://ccrma.stanford.edu/~jos/resample/.
    """
    if rate == to:
        return samples
    cutoff = min(1.0, to / rate)
    reach = int(np.ceil(_CROSSINGS / cutoff))
    taps = np.arange(-reach, reach + 1)
    phases = to // gcd(rate, to)  # after so many samples the filter repeats
    shifts = (np.arange(phases) * rate % to)[:, None] / to
    distance = cutoff * (taps[None] - shifts)
    fade = np.cos(np.pi * np.clip(distance / (2 * _CROSSINGS + 2 * cutoff), -0.5, 0.5)) ** 2
    filters = (np.sinc(distance) * fade * cutoff).astype(np.float32)
    padded, parts = np.pad(samples, reach + 1), []
    total = max(1, round(len(samples) * to / rate))
    for start in range(0, total, to):  # a second at a time
        at = np.arange(start, min(start + to, total))
        index = (at * rate // to)[:, None] + taps[None] + reach + 1
        parts.append(np.einsum("nt,nt->n", padded[np.minimum(index, len(padded) - 1)], filters[at % phases]))
    return np.concatenate(parts).astype(np.float32)


def blocks(source: Any, rate: int, seconds: int = 30) -> Iterator[Samples]:
    """Read a sound in stretches of `seconds`, mono and at `rate`: hours of it need no more memory.

    Each stretch is resampled by itself, so that the last millisecond before its end is a little quieter.

    Args:
        source: a path, the bytes of a WAV, FLAC, OGG or MP3 file, or (samples, rate) as arrays hold it:
            (n,) or (n, channels), floats from -1 to 1 or integers.
        rate: samples a second of what is returned.
        seconds: how long a stretch is.

    Raises:
        DataError: when it is no sound, is empty, or holds NaN or infinity.
    """
    for samples, given in _stretches(source, seconds):
        mono = samples.mean(1) if samples.ndim == 2 else samples
        if not np.isfinite(mono).all():
            bad = int(np.flatnonzero(~np.isfinite(mono))[0])
            raise DataError(
                f"the sound holds NaN or infinity, first at {bad / given:.2f} s of a stretch; clean it"
            )
        yield resampled(np.clip(mono, -1, 1).astype(np.float32), given, rate)


def read_sound(source: Any, signature: Signature) -> torch.Tensor:
    """Turn a sound into a raw sample for a model: of the loudest stretch that is as long as its input.

    Args:
        source: as for `blocks`.
        signature: the model's.

    Returns:
        Decades of energy (1, bands, frames) float32.

    Raises:
        DataError: when it is no sound, is empty, silent, or holds NaN or infinity.
        ModelError: when the model does not take sounds.
    """
    sound = signature.media
    if not isinstance(sound, Sound):
        raise ModelError(f"the model takes samples of shape {signature.shape}, not sounds")
    return log_mel(torch.from_numpy(loudest(source, sound))[None], sound)[0]


def loudest(source: Any, sound: Sound) -> Samples:
    """Return the loudest stretch of a sound, in the middle of as many samples as the model takes.

    Raises:
        DataError: when the sound cannot be read or is silent.
    """
    best, most = np.zeros(0, np.float32), 0.0
    kept = np.zeros(0, np.float32)
    for block in blocks(source, sound.rate):
        both = np.concatenate([kept, block])
        if len(both) <= sound.samples:
            energy, found = float(np.square(both).sum()), both
        else:
            total = np.concatenate([[0.0], np.cumsum(np.square(both, dtype=np.float64))])
            within = total[sound.samples :] - total[: -sound.samples]
            first = int(np.median(np.flatnonzero(within >= within.max() * (1 - 1e-6))))
            energy, found = float(within[first]), both[first : first + sound.samples]
        if energy > most:
            best, most = found, energy
        kept = both[-sound.samples :]
    if most < 1e-9:
        raise DataError("the sound is silent (every sample is 0); record it again, closer to the microphone")
    return middled(best, sound.samples)


def middled(samples: Samples, length: int) -> Samples:
    """Return `length` samples with what is loud (within 40 dB of the loudest) in the middle."""
    loud = np.flatnonzero(np.abs(samples) > 0.01 * np.abs(samples).max())
    word = samples[loud[0] : loud[-1] + 1][:length]
    start = (length - len(word)) // 2
    return np.pad(word, (start, length - len(word) - start))


def _stretches(source: Any, seconds: int) -> Iterator[tuple[NDArray[Any], int]]:
    if isinstance(source, tuple):
        samples, rate = np.asarray(source[0]), int(source[1])
        if samples.ndim not in {1, 2} or not len(samples) or rate < 1:
            raise DataError(f"expected samples (n,) or (n, channels) and a rate, got {samples.shape}, {rate}")
        scale = 1 / np.iinfo(samples.dtype).max if samples.dtype.kind == "i" else 1.0
        for start in range(0, len(samples), seconds * rate):
            yield samples[start : start + seconds * rate] * np.float32(scale), rate
        return
    import soundfile

    if not isinstance(source, bytes | str | Path):
        kind = type(source).__name__
        raise DataError(f"expected a sound (path, bytes or (samples, rate)), got {kind}")
    content = io.BytesIO(source) if isinstance(source, bytes) else Path(source)
    if (len(source) if isinstance(source, bytes) else _size(content)) == 0:
        raise DataError("the sound is empty (0 bytes); choose another file")
    try:
        with soundfile.SoundFile(content) as file:
            if not file.frames:
                raise DataError("the sound has no samples (0 s); choose another file")
            while len(block := file.read(seconds * file.samplerate, dtype="float32", always_2d=True)):
                yield block, file.samplerate
    except soundfile.LibsndfileError as error:
        raise DataError(
            f"this is no sound that can be read ({error.error_string.strip('.')}); {_ENDINGS}"
        ) from None


def _size(path: Any) -> int:
    if not path.is_file():
        raise DataError(f"{path} is no file; expected a sound")
    return int(path.stat().st_size)
