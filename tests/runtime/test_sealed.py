"""Sealed folders: open with the secret, and say nothing to anyone else."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

import kit
from kit.errors import ArgumentError, CorruptFileError, ModelError, StorageError
from kit.runtime.sealed import _CHUNK, new_secret, seal, unseal


@pytest.fixture
def secret(tmp_path):
    return new_secret(tmp_path / "secret.key")


@pytest.fixture
def large(tmp_path):
    """A folder of some chunks; what is in it does not matter to the seal."""
    folder = tmp_path / "large"
    folder.mkdir()
    (folder / "card.json").write_text(json.dumps({"name": "nobody reads this"}))
    (folder / "model.onnx").write_bytes(os.urandom(3 * _CHUNK))
    return folder


def test_a_model_computes_the_same_from_a_sealed_file(trained, fashion, tmp_path, secret):
    folder = kit.save(trained, tmp_path / "plain")
    sealed = seal(folder, tmp_path / "net.sealed", secret=secret)
    assert b"architecture" not in sealed.read_bytes()
    images = fashion.test.inputs[:20].numpy()
    np.testing.assert_array_equal(kit.load(unseal(sealed, secret=secret))(images), trained(images))


def test_the_same_folder_never_looks_the_same_and_comes_back_whole(large, tmp_path, secret):
    one, two = (seal(large, tmp_path / name, secret=secret) for name in ("1", "2"))
    assert one.read_bytes()[40:] != two.read_bytes()[40:]
    back = unseal(one, secret=secret, folder=tmp_path / "back")
    assert (back / "model.onnx").read_bytes() == (large / "model.onnx").read_bytes()
    assert back.stat().st_mode & 0o077 == 0
    with pytest.raises(StorageError, match="exists"):
        unseal(one, secret=secret, folder=back)


def test_no_change_goes_unnoticed(large, tmp_path, secret):
    whole = seal(large, tmp_path / "net.sealed", secret=secret).read_bytes()
    first, size = 24, _CHUNK + 16
    chunks = [whole[first + i * size : first + (i + 1) * size] for i in range(4)]
    changed = {
        "a bit": whole[:5000] + bytes([whole[5000] ^ 1]) + whole[5001:],
        "the salt": whole[:10] + bytes([whole[10] ^ 1]) + whole[11:],
        "the last bit": whole[:-1] + bytes([whole[-1] ^ 1]),
        "cut short": whole[:-1],
        "cut at a chunk": whole[:first] + b"".join(chunks[:3]),
        "two exchanged": whole[:first] + chunks[1] + chunks[0] + b"".join(chunks[2:]),
        "one left out": whole[:first] + chunks[0] + b"".join(chunks[2:]),
        "something added": whole + b"x",
        "the head alone": whole[:first],
        "another file": b"PK\3\4" + whole,
        "nothing": b"",
    }
    for name, content in changed.items():
        (tmp_path / "bad").write_bytes(content)
        with pytest.raises(CorruptFileError):
            unseal(tmp_path / "bad", secret=secret, folder=tmp_path / "back")
        assert not (tmp_path / "back").exists(), name


def test_secrets(large, tmp_path, secret):
    assert secret.stat().st_mode & 0o077 == 0
    with pytest.raises(StorageError, match="choose another name"):
        new_secret(secret)
    sealed = seal(large, tmp_path / "net.sealed", secret="a passphrase that is long")
    for wrong in (secret, "a passphrase that is wrong"):
        with pytest.raises(CorruptFileError, match="another secret"):
            unseal(sealed, secret=wrong)
    assert (unseal(sealed, secret="a passphrase that is long") / "card.json").is_file()
    with pytest.raises(ArgumentError, match="12 characters"):
        seal(large, tmp_path / "x", secret="short")
    with pytest.raises(ArgumentError, match="32 bytes"):
        seal(large, tmp_path / "x", secret=Path("nowhere"))
    with pytest.raises(ModelError, match="no model folder"):
        seal(tmp_path, tmp_path / "x", secret=secret)
