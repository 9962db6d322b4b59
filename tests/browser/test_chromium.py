from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def run(**environment):
    script = Path(__file__).with_name("chromium.py")
    return subprocess.run(
        [sys.executable, script], env=environment, capture_output=True, text=True, check=False
    )


def test_where_no_browser_can_be_had_the_message_says_what_to_do(tmp_path):
    result = run(PATH=str(tmp_path), HOME=str(tmp_path))
    if Path("/Applications/Google Chrome.app").exists():
        assert result.returncode == 0
    else:
        assert result.returncode == 1
        assert "sudo apt-get install chromium" in result.stderr


def test_a_wrong_path_is_not_replaced_by_another_browser(tmp_path):
    result = run(PATH=str(tmp_path), HOME=str(tmp_path), CHROMIUM="/no/such/chrome")
    assert result.returncode == 1
    assert "export CHROMIUM=" in result.stderr


def test_playwrights_own_download_is_found(tmp_path):
    chrome = tmp_path / ".cache/ms-playwright/chromium-1234/chrome-linux64/chrome"
    chrome.parent.mkdir(parents=True)
    chrome.touch()
    assert run(PATH=str(tmp_path), HOME=str(tmp_path)).returncode == 0
