"""A pytest plugin: every worker of pytest-xdist owns its share of the cores, so that none waits for another.

python -m pytest -p tests.cores -n auto --dist loadfile

Without it each worker would start threads for all cores, and small nets train up to ten times slower.
Where a system has no affinity (macOS), threads are left as they are.
"""

from __future__ import annotations

import os


def share(cores: set[int], worker: int, workers: int) -> set[int]:
    """Return the cores of one worker: all of them are dealt out in turn; nobody stays without."""
    return set(sorted(cores)[worker::workers]) or {sorted(cores)[worker % len(cores)]}


if "PYTEST_XDIST_WORKER" in os.environ and hasattr(os, "sched_setaffinity"):
    number = int(os.environ["PYTEST_XDIST_WORKER"].removeprefix("gw"))
    count = int(os.environ["PYTEST_XDIST_WORKER_COUNT"])
    os.sched_setaffinity(0, share(os.sched_getaffinity(0), number, count))
