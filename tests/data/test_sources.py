from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

import kit
from kit.errors import DataError


@pytest.fixture
def pictures(tmp_path, fashion):
    """Real images as PNG files, two classes, 30 each."""
    for label, name in ((0, "shirt"), (7, "sneaker")):
        (tmp_path / name).mkdir()
        for i, image in enumerate(fashion.train.raw[fashion.train.targets == label][:30]):
            Image.fromarray(image[0].numpy()).save(tmp_path / name / f"{i:02}.png")
    return tmp_path


def test_a_folder_of_images(pictures, fashion):
    data = kit.data.from_folder(pictures)
    assert data.signature.classes == ("shirt", "sneaker")
    assert data.signature.shape == (1, 28, 28)
    assert [len(split) for split in data.splits] == [48, 6, 6]
    assert data.skipped == ()
    originals = {bytes(x.numpy()) for x in fashion.train.raw}
    assert all(bytes(x.numpy()) in originals for split in data.splits for x in split.raw)


def test_files_that_are_no_images_are_named_and_the_rest_goes_on(pictures):
    (pictures / "shirt" / "notes.txt").write_text("hello")
    (pictures / "shirt" / "empty.png").write_bytes(b"")
    whole = (pictures / "sneaker" / "00.png").read_bytes()
    (pictures / "sneaker" / "half.png").write_bytes(whole[: len(whole) // 2])
    with pytest.warns(UserWarning, match=r"3 file\(s\) .* left out"):
        data = kit.data.from_folder(pictures)
    assert sum(len(split) for split in data.splits) == 60
    assert {path.name for path, _ in data.skipped} == {"notes.txt", "empty.png", "half.png"}
    reasons = {path.name: reason for path, reason in data.skipped}
    assert reasons["notes.txt"] == "not an image"
    assert reasons["empty.png"] == "damaged image"


def test_images_of_different_sizes_need_a_size(pictures):
    Image.new("L", (40, 30), 128).save(pictures / "shirt" / "big.png")
    with pytest.raises(DataError, match=r"differ in size .* give size="):
        kit.data.from_folder(pictures)
    assert kit.data.from_folder(pictures, size=(14, 20)).signature.shape == (1, 14, 20)


def test_colour_rotation_and_alpha(pictures):
    image = Image.new("RGBA", (28, 28), (255, 0, 0, 255))
    image.save(pictures / "shirt" / "red.png")
    data = kit.data.from_folder(pictures)
    assert data.signature.shape == (3, 28, 28)
    assert kit.data.from_folder(pictures, channels=1).signature.shape == (1, 28, 28)


def test_given_test_folder_is_the_test_split(tmp_path, pictures):
    root = tmp_path / "own"
    for part in ("train", "test"):
        for name in ("shirt", "sneaker"):
            (root / part / name).mkdir(parents=True)
            for path in sorted((pictures / name).glob("*.png"))[
                slice(20) if part == "train" else slice(20, 30)
            ]:
                (root / part / name / path.name).hardlink_to(path)
    data = kit.data.from_folder(root)
    assert [len(split) for split in data.splits] == [36, 4, 20]


@pytest.mark.parametrize("make", [lambda p: p / "absent", lambda p: p / "lonely"])
def test_folders_that_are_no_data_set(tmp_path, make):
    (tmp_path / "lonely" / "one").mkdir(parents=True)
    with pytest.raises(DataError, match=r"no folder|at least two"):
        kit.data.from_folder(make(tmp_path))


def test_torch_datasets_and_loaders(fashion):
    pairs = TensorDataset(fashion.train.inputs[:200], fashion.train.targets[:200])
    plain = kit.data.as_dataset(pairs)
    assert [len(split) for split in plain.splits] == [160, 20, 20]
    shuffled = kit.data.as_dataset(DataLoader(pairs, batch_size=7, shuffle=True, drop_last=True))
    assert torch.equal(plain.test.raw, shuffled.test.raw), "shuffling must not move samples between splits"
    assert kit.data.as_dataset(fashion) is fashion
    listed = kit.data.as_dataset([(x, int(y)) for x, y in zip(*pairs.tensors, strict=True)])
    assert torch.equal(listed.train.raw, plain.train.raw)


class Stream(IterableDataset):
    def __iter__(self):
        return ((torch.full((2,), float(i)), i % 2) for i in range(50))


def test_streams_are_read_once():
    data = kit.data.from_torch(Stream(), classes=["even", "odd"])
    assert sum(len(split) for split in data.splits) == 50
    assert data.signature.classes == ("even", "odd")


@pytest.mark.parametrize(
    "source", [5, [1, 2, 3], [(torch.zeros(2), 0), (torch.zeros(3), 1)], [], [("a", "b", "c")]]
)
def test_things_that_are_no_data(source):
    with pytest.raises(DataError):
        kit.data.as_dataset(source)


def test_bytes_are_scaled_and_floats_are_not():
    x = np.random.default_rng(0).integers(0, 256, (50, 3, 4, 4), dtype=np.uint8)
    y = np.arange(50) % 5
    assert float(kit.data.from_arrays(x, y).train.inputs.max()) <= 1
    assert torch.equal(
        kit.data.from_arrays(x.astype(np.float64), y).train.inputs.max(), torch.tensor(float(x.max()))
    )
