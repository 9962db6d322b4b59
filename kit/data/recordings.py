"""Recordings of one's own: a folder of sounds, one subfolder a class."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from kit.data.dataset import Dataset, Split, stratified
from kit.data.sounds import log_mel, loudest
from kit.errors import DataError
from kit.media import Sound
from kit.variant import Preprocess, Signature

if TYPE_CHECKING:
    from collections.abc import Callable


def from_sounds(
    folder: str | Path,
    *,
    sound: Sound | None = None,
    speaker: Callable[[Path], str] | None = None,
    valid: float = 0.1,
    test: float = 0.1,
    seed: int = 0,
) -> Dataset:
    """Load a folder of sounds, one subfolder a class: of each file its loudest stretch, as a spectrogram.

    Files that are no sounds are named in a warning and in `.skipped`; the rest goes on.

    Args:
        folder: the folder, with WAV, FLAC, OGG or MP3 files of any rate.
        sound: how long a stretch is, and its bands; by default a second at 8 kHz.
        speaker: says who speaks in a file, such as `lambda path: path.stem.split("_")[0]`. Nobody then stands
            in two splits: without it a net may learn the voices of the test split by heart.
        valid, test: the shares to take away for these splits, of the files (stratified) or of the speakers.
        seed: the seed of the splits.

    Raises:
        DataError: when there is no sound, only one class, or too few speakers to split.
    """
    root, sound = Path(folder), sound or Sound()
    classes = tuple(sorted(p.name for p in root.iterdir() if p.is_dir())) if root.is_dir() else ()
    if len(classes) < 2:
        raise DataError(
            f"{root} needs one subfolder a class and at least two, found: {', '.join(classes) or 'none'}"
        )
    heard: list[tuple[Path, int, np.ndarray]] = []
    skipped: list[tuple[Path, str]] = []
    for label, name in enumerate(classes):
        for path in sorted(p for p in (root / name).iterdir() if p.is_file() and not p.name.startswith(".")):
            try:
                heard.append((path, label, loudest(path, sound)))
            except DataError as error:
                skipped.append((path, str(error)))
    if not heard:
        raise DataError(f"{root} holds no sound that can be read")
    if skipped:
        names = "; ".join(f"{path.name}: {reason}" for path, reason in skipped[:5])
        warnings.warn(f"{len(skipped)} file(s) in {root} left out ({names})", stacklevel=2)
    raw = log_mel(torch.from_numpy(np.stack([samples for _, _, samples in heard])), sound)
    targets = torch.tensor([label for _, label, _ in heard])
    names_of = None if speaker is None else [speaker(path) for path, _, _ in heard]
    train, held, last = _parted(targets, names_of, valid, test, seed)
    mean, std = float(raw[train].mean()), float(raw[train].std()) or 1.0
    preprocess = Preprocess(1.0, (mean,), (std,))
    signature = Signature("classification", sound.shape, classes, len(classes), preprocess, sound)
    one, two, three = (
        Split(name, raw[part], targets[part], preprocess)
        for name, part in (("train", train), ("valid", held), ("test", last))
    )
    return Dataset(root.name, one, two, three, signature, str(root), tuple(skipped))


def _parted(
    targets: torch.Tensor, speakers: list[str] | None, valid: float, test: float, seed: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return the indices of train, valid and test."""
    if speakers is None:
        rest, last = stratified(targets, test, seed)
        kept, held = stratified(targets[rest], valid / (1 - test), seed)
        return rest[kept], rest[held], last
    names = sorted(set(speakers))
    order = np.random.default_rng(seed).permutation(len(names))
    many = [max(1, round(share * len(names))) for share in (valid, test)]
    if len(names) < sum(many) + 1:
        raise DataError(
            f"{len(names)} speaker(s) cannot be split in three; record more, or leave speaker= out"
        )
    part_of = dict.fromkeys(names, 0)
    for part, chosen in ((1, order[: many[0]]), (2, order[many[0] : sum(many)])):
        part_of |= dict.fromkeys((names[i] for i in chosen), part)
    parts = torch.tensor([part_of[name] for name in speakers])
    train, held, last = ((parts == part).nonzero().flatten() for part in range(3))
    return train, held, last
