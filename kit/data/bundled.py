"""Where the bundled sets lie, inside the wheel or in the repository, and whether their files are whole."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from kit.errors import CorruptFileError, MissingDataError
from kit.files import digest

if TYPE_CHECKING:
    from collections.abc import Mapping


def bundled(name: str) -> Path:
    """Return the folder of a bundled data set.

    Raises:
        MissingDataError: when it is not there.
    """
    here = Path(__file__).parent
    for folder in (here / "bundled" / name, here.parents[1] / "data" / name):
        if folder.is_dir():
            return folder
    raise MissingDataError(f"the bundled data set {name!r} is missing; reinstall maaskit")


def verify(folder: Path, sums: Mapping[str, str], algorithm: str = "sha256") -> None:
    """Check the files of a folder against their checksums.

    Raises:
        MissingDataError: when one is not there.
        CorruptFileError: when one differs.
    """
    for file, expected in sums.items():
        if not (folder / file).is_file():
            raise MissingDataError(f"{folder / file} is missing; restore it (see data/README.md)")
        if (found := digest(folder / file, algorithm)) != expected:
            raise CorruptFileError(
                f"{folder / file} is corrupt: {_LABELS[algorithm]} {found}, expected {expected}; "
                "fetch it again"
            )


_LABELS = {"md5": "MD5", "sha256": "SHA-256"}
