"""Find the browser that the tests drive, or install it where that is possible: `make chromium`."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
APPLICATIONS = [f"/Applications/{n}.app/Contents/MacOS/{n}" for n in ("Google Chrome", "Chromium")]
HELP = """No Chromium or Chrome was found, and none can be installed from here. Do one of these:
  Debian, Ubuntu   sudo apt-get install chromium
  macOS            brew install --cask google-chrome
  without root     {python} -m playwright install chromium
  elsewhere        export CHROMIUM=/path/to/chrome
Everything but the browser tests runs without it: {python} -m pytest tests --ignore tests/browser"""


def find() -> str | None:
    """Return the path of a Chromium or Chrome on this machine: `$CHROMIUM`, the PATH, or Playwright's own."""
    if chosen := os.environ.get("CHROMIUM"):
        return shutil.which(chosen)
    places = [Path.home() / ".cache/ms-playwright", Path.home() / "Library/Caches/ms-playwright"]
    downloads = (path for place in places for path in place.glob("chromium-*/chrome-*/chrome"))
    known = [*map(shutil.which, NAMES), *APPLICATIONS, *sorted(map(str, downloads), reverse=True)]
    return next((path for path in known if path and Path(path).exists()), None)


def install() -> None:
    """Install Debian's Chromium if this user may: as root, or by sudo without a password."""
    if not shutil.which("apt-get"):
        return
    root = os.geteuid() == 0
    if not root and not (shutil.which("sudo") and _run("sudo", "-n", "true")):
        return
    print("Installing Chromium with apt-get (120 MB, once) ...", flush=True)
    apt = [*([] if root else ["sudo", "-n"]), "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-qq"]
    _run(*apt, "update")
    _run(*apt, "install", "-y", "--no-install-recommends", "chromium", "fonts-dejavu-core")


def _run(*command: str) -> bool:
    return subprocess.run(command, check=False, stdout=subprocess.DEVNULL).returncode == 0


if __name__ == "__main__":
    if not find():
        install()
    sys.exit(None if find() else HELP.format(python=sys.executable))
