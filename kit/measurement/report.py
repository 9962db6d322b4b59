"""The report of a comparison: one HTML file with table, Pareto fronts, reasons, recipes and conditions."""

from __future__ import annotations

import base64
import io
from datetime import UTC, datetime
from html import escape
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

from kit.measurement import table
from kit.measurement.scores import Classification

if TYPE_CHECKING:
    from collections.abc import Iterator

    from matplotlib.figure import Figure

    from kit.measurement.comparison import By, Comparison

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #1a1a1a; background: #fff; max-width: 70rem;
       margin: 2rem auto; padding: 0 1rem }
h1 { font-size: 1.6rem } h2 { font-size: 1.2rem; margin-top: 2.2rem }
figure { margin: 0 } img { max-width: 100%; height: auto }
.plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(30rem, 1fr)); gap: 1rem }
.scroll { overflow-x: auto } code { background: #f3f3f3; padding: 0.1em 0.3em }
caption, .note { color: #444; font-size: 0.9rem }
"""
_LIBRARIES = ("maaskit", "torch", "onnx", "onnxruntime", "openvino", "numpy")


def page(comparison: Comparison) -> str:
    """Build the whole page as text; pictures are inside it."""
    title = f"{comparison.rows[0].name} and what was made of it"
    parts = "\n".join(_parts(comparison))
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>{escape(title)}</title>\n'
        f'<meta name="viewport" content="width=device-width">\n<style>{_STYLE}</style>\n</head>\n'
        f"<body>\n<main>\n<h1>{escape(title)}</h1>\n{parts}\n</main>\n</body>\n</html>\n"
    )


def _parts(comparison: Comparison) -> Iterator[str]:
    caption = f"{len(comparison.rows)} variants on {comparison.data} {comparison.split}"
    yield f'<div class="scroll">{table.html(caption, *comparison.cells(wide=True))}</div>'
    yield "".join(f'<p class="note">{escape(note)}</p>' for note in comparison.conditions())
    yield '<h2>Quality against cost</h2>\n<div class="plots">'
    costs: dict[By, str] = {"latency": "latency", "bytes": "bytes on disk", "macs": "multiply-accumulates"}
    for by, what in costs.items():
        names = ", ".join(row.name for row in comparison.front(by))
        yield _picture(comparison.plot(by), f"Quality against {what}; on the Pareto front: {names}.")
    yield "</div>\n<h2>Why</h2>"
    yield "".join(_why(row.name, row.why) for row in comparison.rows if row.why)
    yield "<h2>Latency</h2>"
    yield _picture(comparison.benchmark.plot(), "Distribution of the latency of a call, by variant.")
    yield f'<div class="scroll">{comparison.benchmark._repr_html_()}</div>'
    yield "<h2>Confusion</h2>"
    yield from _confusions(comparison)
    yield "<h2>Recipes</h2>"
    for variant in comparison.variants:
        steps = "".join(f"<li><code>{escape(str(step))}</code></li>" for step in variant.recipe)
        yield f"<h3>{escape(variant.name)}</h3><ol>{steps or '<li>as given</li>'}</ol>"
    yield "<h2>Conditions</h2>"
    machine = f"{comparison.benchmark.machine}; {_versions()}; {datetime.now(UTC):%Y-%m-%d}."
    yield f"<p>{escape(machine)}</p>"


def _confusions(comparison: Comparison) -> Iterator[str]:
    """Draw the baseline's confusion matrix beside what the smallest variant changed of it."""
    first, smallest = comparison.rows[0], min(comparison.rows, key=lambda row: row.bytes)
    base, other = first.evaluation, smallest.evaluation
    if isinstance(base, Classification) and isinstance(other, Classification):
        figure = other.plot(against=base if other is not base else None)
        text = f"Confusion matrix of {smallest.name} and its change against {first.name}."
        yield _picture(figure, text)


def _why(name: str, lines: tuple[str, ...]) -> str:
    return f"<h3>{escape(name)}</h3><ul>{''.join(f'<li>{escape(line)}</li>' for line in lines)}</ul>"


def _picture(figure: Figure, alternative: str) -> str:
    """Embed a figure with the text that says the same without seeing it."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=150)
    data = base64.b64encode(buffer.getvalue()).decode()
    return f'<figure><img src="data:image/png;base64,{data}" alt="{escape(alternative)}"></figure>'


def _versions() -> str:
    found = []
    for library in _LIBRARIES:
        try:
            found.append(f"{library} {version(library)}")
        except PackageNotFoundError:
            continue
    return ", ".join(found)
