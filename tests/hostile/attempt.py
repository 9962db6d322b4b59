"""Open hostile files in a process of its own, one after the other: what was said, at what cost.

`python tests/hostile/attempt.py PATHS.json` prints a line of JSON for each.
"""

import contextlib
import json
import sys
import time
from pathlib import Path

import kit


def resident(kind):
    """Return VmRSS or VmHWM in MB."""
    status = Path("/proc/self/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith(kind)).split()[1]) / 1024


def attempt(path):
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak so far
    before, start = resident("VmRSS"), time.process_time()
    try:
        kit.open(path).close()
        said = "", "opened"
    except Exception as error:  # noqa: BLE001 -- whatever is raised is the answer
        said = type(error).__name__, str(error)
        unsafe = isinstance(error, kit.errors.UnsafeModelError)
    else:
        unsafe = False
    cost = {"seconds": time.process_time() - start, "megabytes": resident("VmHWM") - before}
    return {"unsafe": unsafe, "kind": said[0], "text": said[1], **cost}


if __name__ == "__main__":
    paths = json.loads(Path(sys.argv[1]).read_text())
    with contextlib.suppress(kit.errors.KitError):
        kit.open(__file__)  # every import that opening needs is done before the first measurement
    for name, path in paths.items():
        print(json.dumps({"name": name, **attempt(path)}), flush=True)
