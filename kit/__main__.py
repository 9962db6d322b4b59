"""The command line: `kit tour`, `kit lab`, `kit workshop`, `kit reset`, `kit serve`, `kit doctor`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Literal

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
    _add_lessons(commands)
    _add_serve(commands)
    options = parser.parse_args(arguments)
    try:
        if options.command == "doctor":
            from kit.doctor import doctor

            diagnosis = doctor()
            print(diagnosis)
            return 0 if diagnosis.ok else 1
        if options.command == "tour":
            from kit.tour import tour as take

            take(options.folder, full=options.full)
        elif options.command == "serve":
            _serve(options)
        else:
            _lessons(options)
    except KitError as error:
        print(f"kit: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("kit: interrupted", file=sys.stderr)
        return 130
    return 0


def _add_lessons(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    lab = commands.add_parser("lab", help="open JupyterLab on the lessons, for you on this machine alone")
    lab.add_argument("--folder", type=Path, help="where to work (default: the repository, else ~/maaskit)")
    lab.add_argument("--student", action="store_true", help="the edition without solutions")
    lab.add_argument("--fast", action="store_true", help="small data and few epochs (KIT_FAST=1)")
    lab.add_argument("--copy-only", action="store_true", help="copy the lessons and start nothing")
    lab.add_argument("--no-browser", action="store_true", help="print the address instead of opening it")
    lab.add_argument("jupyter", nargs="*", metavar="-- ARGUMENT", help="more arguments for jupyter lab")
    workshop = commands.add_parser("workshop", help="write student and instructor editions and a schedule")
    workshop.add_argument(
        "--folder", type=Path, default=Path("runs/workshop"), help="where to write (default: %(default)s)"
    )
    workshop.add_argument("--notebooks", type=Path, help="a folder of lessons (default: the kit's own)")
    workshop.add_argument(
        "--no-run", action="store_true", help="do not run the notebooks: no proof, no times"
    )
    workshop.add_argument("--begin", default="9:00", help="when the course begins (default: %(default)s)")
    reset = commands.add_parser("reset", help="bring back the original of a notebook; the old one is kept")
    reset.add_argument("notebook", type=Path, nargs="+")
    reset.add_argument("--edition", help="lesson, student or instructor (default: what the notebook says)")


def _add_serve(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    serve = commands.add_parser("serve", help="serve models until Ctrl-C")
    serve.add_argument("model", type=Path, nargs="*", help="model folders, packed files or .onnx files")
    serve.add_argument("--host", default="127.0.0.1", help="0.0.0.0 serves other machines too")
    serve.add_argument("--port", type=int, default=8000, help="0 takes a free one (default: %(default)s)")
    serve.add_argument("--no-key", action="store_true", help="let every program on this machine in")
    serve.add_argument("--tls", action="store_true", help="with a certificate made for development")
    serve.add_argument("--folder", type=Path, help="keep keys (hashed), log and training jobs here")


def _serve(options: argparse.Namespace) -> None:
    from kit.serving.serve import serve

    key = None if options.no_key else "auto"
    tls: Literal["development"] | None = "development" if options.tls else None
    place = {"host": options.host, "port": options.port, "folder": options.folder}
    with serve(*options.model, key=key, tls=tls, **place) as service:
        print(
            f"{service}\nTry it: {service.address}/ (key: {service.key or 'none'}); Ctrl-C stops", flush=True
        )
        service.watch()


def _lessons(options: argparse.Namespace) -> None:
    if options.command == "workshop":
        from kit.workshop import workshop

        done = workshop(options.folder, options.notebooks, run=not options.no_run, begin=options.begin)
        print(f"Print {done}; hand out {done.parent / 'student'}")
    elif options.command == "reset":
        from kit.lessons import reset

        for notebook in options.notebook:
            kept = reset(notebook, kind=options.edition)
            print(f"{notebook}: the original is back" + (f"; the old one is {kept}" if kept else ""))
    elif options.copy_only:
        from kit.lessons import workplace

        print(f"The lessons are in {workplace(options.folder, student=options.student)}")
    else:
        from kit.lab import lab

        lab(
            options.folder,
            student=options.student,
            fast=options.fast,
            browser=not options.no_browser,
            arguments=options.jupyter,
        )


if __name__ == "__main__":
    sys.exit(main())
