"""Make the bundled spoken digits: `python data/spoken-digits/make.py RECORDINGS`, with espeak-ng and flite.

RECORDINGS is a folder into which Debian's `asterisk-core-sounds-en-wav` and `pocketsphinx-testdata` were
unpacked (`dpkg -x`). A clip is one second at 8 kHz with the word in its middle; a file holds clips in a row.

The list and `allison.flac` come out byte for byte. The bundled voices were resampled by an earlier filter,
and an Ogg file draws its serial number anew: the other files hold the same words, but not the same bytes.
"""

from __future__ import annotations

import csv
import io
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import soundfile

from kit.data.sounds import middled, resampled

RATE = 8000
HERE = Path(__file__).parent
WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
ACCENTS = ("en-us", "en-gb", "en-gb-scotland", "en-gb-x-rp", "en-gb-x-gbcwmd", "en-us-nyc")
TIMES = 3  # that a voice says a digit
# A voice is a timbre of espeak-ng or a speaker of flite; those of test and valid are not heard in training,
# nor are voices of the same name with another number.
VOICES = (  # a file each
    (
        "Adam Alex Alicia Andrea Annie Antonio Auntie Belinda Benjamin Boris Caleb David Denis Ed Edward "
        "Gene Gustave Henrique Hugo Jacky John Lee Linda Marcelo Marco Mario Max Michael Miguel Mike "
        "Nguyen Pablo Paul Pedro Quincy Rob Steph Tweaky Zac female1 female2 female3 male1 male2 male3 male4 "
        "flite:kal flite:awb"
    ),
    "Diogo Edward2 Iven Michel Robert Steph2 female4 male5 male6 flite:rms",
    "Andy Gene2 Iven2 Kaukovalta Mr_Serious Steph3 anika female5 grandma male7 sandro victor flite:slt",
)
VALID = {"Diogo", "Iven", "Iven2", "Michel", "Robert", "female4", "male5", "male6", "flite:rms"}
TEST = {
    *("Andy", "Kaukovalta", "Mr_Serious", "anika", "female5"),
    *("grandma", "male7", "sandro", "victor", "flite:slt"),
}
# Real speakers, cut by hand: file below RECORDINGS, digit, start and end in seconds (None: the whole file).
ALLISON = [(f"usr/share/asterisk/sounds/en_US_f_Allison/digits/{k}.wav", k, None, None) for k in range(10)]

_TESTS = "usr/share/pocketsphinx/test/data/"
_DHD, _CARDS = f"{_TESTS}tidigits/dhd.2934z.raw", f"{_TESTS}cards/00{{}}.wav"
POCKETSPHINX = [  # the times are pocketsphinx's own alignment of the transcripts
    (_DHD, 2, 0.22, 0.42),
    (_DHD, 9, 0.41, 0.66),
    (_DHD, 3, 0.65, 0.89),
    (_DHD, 4, 0.88, 1.14),
    (_DHD, 0, 1.13, 1.62),
    (_CARDS.format(2), 4, 0.10, 0.77),
    (_CARDS.format(3), 7, 0.06, 0.57),
    (_CARDS.format(4), 5, 0.14, 0.83),
    (_CARDS.format(4), 5, 0.83, 1.26),
    (_CARDS.format(5), 8, 0.19, 0.42),
    (_CARDS.format(5), 4, 1.25, 1.56),
    (_CARDS.format(5), 7, 2.22, 2.63),
]


def split_of(voice: str) -> str:
    """Return the split that a synthetic voice belongs to."""
    return "valid" if voice in VALID else "test" if voice in TEST else "train"


def synthesised(voice: str, word: str, draw: random.Random) -> np.ndarray:
    """Let a voice say a word, at a speed and a pitch drawn by chance."""
    if voice.startswith("flite:"):
        stretch, pitch = draw.uniform(0.8, 1.25), draw.uniform(80, 210)
        settings = ["--setf", f"duration_stretch={stretch:.2f}", "--setf", f"int_f0_target_mean={pitch:.0f}"]
        command = ["flite", "-voice", voice[6:], *settings, "-t", word, "-o", "/dev/stdout"]
    else:
        name = f"{draw.choice(ACCENTS)}+{voice}"
        speed, pitch = draw.randint(120, 200), draw.randint(25, 75)
        command = ["espeak-ng", "-v", name, "-s", str(speed), "-p", str(pitch), "--stdout", word]
    sound = subprocess.run(command, capture_output=True, check=True).stdout
    samples, rate = soundfile.read(io.BytesIO(sound), dtype="float32")
    return centred(samples, rate)


def centred(samples: np.ndarray, rate: int) -> np.ndarray:
    """Return one second at 8 kHz, its loud part (within 40 dB of the loudest) in the middle."""
    clip = middled(resampled(samples, rate, RATE), RATE)
    return 0.7 * clip / np.abs(clip).max()


def recorded(root: Path, file: str, start: float | None, end: float | None) -> np.ndarray:
    """Return a word that a person said."""
    path = root / file
    if path.suffix == ".raw":
        samples, rate = np.fromfile(path, "<i2").astype(np.float32) / 32768, 16000
    else:
        samples, rate = soundfile.read(path, dtype="float32")
    if start is not None:
        samples = samples[int(start * rate) : int(end * rate)]
    return centred(samples, rate)


def main(root: Path) -> None:
    """Write the files and their list."""
    draw, rows = random.Random(0), []

    def write(name: str, clips: list[np.ndarray]) -> None:
        quality = {"subtype": "OPUS", "compression_level": 0.97} if name.endswith(".ogg") else {}
        soundfile.write(HERE / name, np.concatenate(clips), RATE, **quality)

    for number, voices in enumerate(VOICES, 1):
        todo = [(voice, digit) for _ in range(TIMES) for voice in voices.split() for digit in range(10)]
        write(f"voices-{number}.ogg", [synthesised(voice, WORDS[digit], draw) for voice, digit in todo])
        rows += [(f"voices-{number}.ogg", split_of(voice), voice, digit) for voice, digit in todo]
    for name, speaker, words in (
        ("allison.flac", "Allison", ALLISON),
        ("pocketsphinx.flac", "", POCKETSPHINX),
    ):
        write(name, [recorded(root, file, start, end) for file, _, start, end in words])
        rows += [(name, "real", speaker or Path(file).parent.name, k) for file, k, _, _ in words]
    with (HERE / "clips.csv").open("w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([("file", "split", "voice", "digit"), *rows])


if __name__ == "__main__":
    main(Path(sys.argv[1]))
