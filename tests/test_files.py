from __future__ import annotations

import os
import stat
import subprocess
import sys

import pytest

from kit.errors import StorageError
from kit.files import atomic, cache_folder, digest, scratch


def names(folder):
    return [path.name for path in folder.iterdir()]


def test_a_file_is_replaced_whole(tmp_path):
    target = tmp_path / "new" / "card.json"
    with atomic(target) as path:
        path.write_text("one")
    assert target.read_text() == "one"
    with atomic(target) as path:
        path.write_text("two")
        assert target.read_text() == "one"
    assert target.read_text() == "two"
    assert names(target.parent) == ["card.json"]


def test_an_error_leaves_the_old_file_and_nothing_else(tmp_path):
    target = tmp_path / "card.json"
    target.write_text("old")

    def half() -> None:
        with atomic(target) as path:
            path.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        half()
    assert target.read_text() == "old"
    assert names(tmp_path) == ["card.json"]


def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageError, match="choose another folder"), atomic(tmp_path / "file" / "x"):
        pass


def test_a_full_disk_leaves_nothing(tmp_path):
    """The limit on file size stands for the disk: the kernel refuses the write in the same place."""
    code = f"""
import resource, signal
from kit.files import atomic
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
with atomic({str(tmp_path / "big")!r}) as path:
    path.write_bytes(bytes(5000))
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "StorageError" in result.stderr
    assert "free some space" in result.stderr
    assert names(tmp_path) == []


def test_permissions_follow_the_umask(tmp_path):
    before = os.umask(0o027)
    try:
        mask = 0o027
        with atomic(tmp_path / "a") as path:
            path.write_text("x")
    finally:
        os.umask(before)
    mode = stat.S_IMODE((tmp_path / "a").stat().st_mode)
    assert mode == 0o666 & ~mask


def test_digest(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    assert digest(tmp_path / "a", "md5") == "900150983cd24fb0d6963f7d28e17f72"
    assert digest(tmp_path / "a").startswith("ba7816bf")


def test_folders(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "maaskit"
    first, second = scratch("a.onnx"), scratch("a.onnx")
    assert first != second
    assert first.parent.is_dir()
