"""What the kit itself costs: seconds to import, lines of code, megabytes of environment."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from statistics import median

import kit


def seconds(code: str, rounds: int = 15) -> float:
    """Median wall time of a fresh interpreter that runs `code`."""
    times = []
    for _ in range(rounds):
        begin = time.perf_counter()
        subprocess.run([sys.executable, "-c", code], check=True)
        times.append(time.perf_counter() - begin)
    return median(times)


def main() -> None:
    bare, loaded = seconds("pass"), seconds("import kit")
    print(f"import kit: {1000 * (loaded - bare):.0f} ms above a bare interpreter ({1000 * bare:.0f} ms)")
    files = {path: len(path.read_text().splitlines()) for path in Path(kit.__file__).parent.rglob("*.py")}
    largest = max(files, key=files.get)
    print(
        f"kit/: {sum(files.values()):,} lines in {len(files)} files; the largest is "
        f"{largest.relative_to(Path(kit.__file__).parent)} with {files[largest]}"
    )
    prefix = Path(sys.prefix)
    size = sum(p.stat().st_size for p in prefix.rglob("*") if p.is_file() and not p.is_symlink())
    print(f"environment {prefix.name}: {size / 1e9:.2f} GB")


if __name__ == "__main__":
    main()
