"""The command line: `kit tour`, `kit doctor`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from kit import __version__
from kit.errors import KitError


def main(arguments: list[str] | None = None) -> int:
    """Run one command; return the exit code. A maaskit error is one line, not a traceback."""
    parser = argparse.ArgumentParser(prog="kit", description=__doc__, allow_abbrev=False)
    parser.add_argument("--version", action="version", version=f"maaskit {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    tour = commands.add_parser("tour", help="take one model the whole way on real data and write a report")
    tour.add_argument(
        "--folder", type=Path, default=Path("runs/tour"), help="where to write (default: %(default)s)"
    )
    tour.add_argument("--full", action="store_true", help="train as long as for publication")
    commands.add_parser("doctor", help="tell what this machine and environment can do, and what is missing")
    options = parser.parse_args(arguments)
    try:
        if options.command == "doctor":
            from kit.doctor import doctor

            diagnosis = doctor()
            print(diagnosis)
            return 0 if diagnosis.ok else 1
        from kit.tour import tour as take

        take(options.folder, full=options.full)
    except KitError as error:
        print(f"kit: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("kit: interrupted", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
