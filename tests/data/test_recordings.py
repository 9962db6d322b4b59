from __future__ import annotations

import pytest
import soundfile

import kit
from kit.errors import DataError


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Three digits, by ten voices, three times each."""
    root = tmp_path_factory.mktemp("sounds")
    counts = {}
    for clip in kit.data.digit_clips():
        if clip.digit < 3 and clip.split == "test":
            place = root / str(clip.digit)
            place.mkdir(exist_ok=True)
            number = counts[clip.voice] = counts.get(clip.voice, 0) + 1
            soundfile.write(place / f"{clip.voice.replace(':', '-')}_{number}.flac", clip.samples, 8000)
    return root


def test_a_folder_becomes_a_data_set(folder):
    data = kit.data.from_sounds(folder)
    assert data.signature.classes == ("0", "1", "2")
    assert sum(len(split) for split in data.splits) == 90
    assert data.signature.media.rate == 8000
    assert abs(float(data.train.inputs.mean())) < 1e-3
    assert data.balance()["test"] == (3, 3, 3)


def test_nobody_stands_in_two_splits(folder):
    voices = []

    def speaker(path):
        voices.append(path.stem.split("_")[0])
        return voices[-1]

    data = kit.data.from_sounds(folder, speaker=speaker, test=0.2)
    assert len(set(voices)) == 10
    assert [len(split) for split in data.splits] == [63, 9, 18]


def test_what_is_no_sound_is_left_out_and_named(folder, tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for path in sorted((folder / "1").iterdir())[:6]:
            (tmp_path / name / path.name).write_bytes(path.read_bytes())
    (tmp_path / "a" / "notes.txt").write_text("no sound")
    (tmp_path / "b" / "empty.wav").write_bytes(b"")
    with pytest.warns(UserWarning, match=r"2 file\(s\).*notes.txt: this is no sound"):
        data = kit.data.from_sounds(tmp_path, valid=0.2, test=0.2)
    assert [path.name for path, _ in data.skipped] == ["notes.txt", "empty.wav"]


def test_folders_that_cannot_be_a_data_set(folder, tmp_path):
    with pytest.raises(DataError, match="at least two"):
        kit.data.from_sounds(tmp_path)
    with pytest.raises(DataError, match="at least two"):
        kit.data.from_sounds(tmp_path / "nowhere")
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    with pytest.raises(DataError, match="no sound that can be read"):
        kit.data.from_sounds(tmp_path)
    with pytest.raises(DataError, match="cannot be split in three"):
        kit.data.from_sounds(folder, speaker=lambda _: "one")
