from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import kit


def run(*arguments, **environment):
    return subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **environment},
    )


def test_a_healthy_environment():
    result = run("-m", "kit", "doctor")
    assert result.returncode == 0, result.stdout
    assert "Everything the core needs is here." in result.stdout
    diagnosis = kit.doctor()
    assert diagnosis.ok
    assert {f.topic for f in diagnosis.findings} == {"Core", "Hardware", "Runtimes", "Folders", "Extras"}
    assert diagnosis.to_dict()["ok"] is True


def test_a_missing_core_library_is_named_and_exits_with_1(tmp_path):
    site = Path(sysconfig.get_path("purelib"))
    for entry in site.iterdir():
        if not entry.name.startswith("safetensors"):
            (tmp_path / entry.name).symlink_to(entry)
    result = run(
        "-S", "-m", "kit", "doctor", PYTHONPATH=f"{tmp_path}{os.pathsep}{Path(kit.__file__).parents[1]}"
    )
    assert result.returncode == 1, result.stdout + result.stderr
    lines = [line for line in result.stdout.splitlines() if "✗" in line]
    assert len(lines) == 2, lines
    assert "safetensors" in lines[0]
    assert "not installed; run: pip install" in lines[0]


def test_without_any_library_the_doctor_still_answers():
    result = run("-S", "-m", "kit", "doctor", PYTHONPATH=str(Path(kit.__file__).parents[1]))
    assert result.returncode == 1
    assert "only its source is here" in result.stdout
    assert result.stderr == ""
