"""`kit lab`: JupyterLab on the lessons, with the kit's settings, for this user on this machine alone."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from kit.lessons import workplace

if TYPE_CHECKING:
    from collections.abc import Sequence


def lab(
    folder: Path | None = None,
    *,
    student: bool = False,
    fast: bool = False,
    browser: bool = True,
    arguments: Sequence[str] = (),
) -> None:
    """Start JupyterLab and return when it ends.

    It listens on 127.0.0.1 only, on a port that the system chooses, and asks for its token. The README is the
    first page, no news are fetched, and kernels come from this environment.

    Args:
        folder: where to work; see `kit.lessons.workplace`.
        student: open the edition without solutions.
        fast: let the notebooks run in fast mode (`KIT_FAST=1`).
        browser: open a browser.
        arguments: more arguments for `jupyter lab`; they win over the ones given here.
    """
    from jupyterlab.labapp import LabApp

    place = workplace(folder, student=student).resolve()
    print(f"The lessons are in {place}", flush=True)
    own = str(Path(__file__).parent / "jupyter")
    os.environ["JUPYTER_CONFIG_PATH"] = os.pathsep.join(
        filter(None, [os.environ.get("JUPYTER_CONFIG_PATH"), own])
    )
    os.environ["JUPYTER_PREFER_ENV_PATH"] = "1"  # a stale "python3" of the user's must not win over this one
    if fast:
        os.environ["KIT_FAST"] = "1"
    LabApp.launch_instance([*settings(place, browser=browser), *arguments])


def settings(place: Path, *, browser: bool) -> list[str]:
    """Return the arguments for `jupyter lab`."""
    chosen = [
        f"--ServerApp.root_dir={place}",
        "--ServerApp.ip=127.0.0.1",
        "--ServerApp.port=0",
        "--LabApp.default_url=/lab/tree/README.md",
        "--LabApp.extension_manager=readonly",
    ]
    if not browser:
        chosen.append("--no-browser")
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        chosen.append("--allow-root")  # in a container everyone is root
    return chosen
