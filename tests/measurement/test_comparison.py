import json
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest

import kit
from kit.errors import ArgumentError, StorageError
from kit.measurement.comparison import Comparison, Row
from kit.measurement.results import Benchmark
from kit.measurement.scores import classification, regression
from kit.measurement.timing import summarise
from kit.statistics import Measurement, wilson
from kit.variant import Signature, Variant

SIGNATURE = Signature("classification", (4,), ("a", "b"), 2)
# name, right of 1,000, kB, ms
MADE = [
    ("dense", 920, 400, 1.0),
    ("slim", 917, 100, 0.5),
    ("int8", 919, 120, 0.4),
    ("tiny", 850, 20, 0.2),
    ("bad", 840, 500, 2.0),
]


def row(name, right, size, ms, verdict="faster"):
    random = np.random.default_rng(right)
    labels = random.integers(0, 2, 1000)
    wrong = random.permutation(1000) < 1000 - right
    speed = Measurement(1 / ms, 0.95 / ms, 1.05 / ms, 12, "×")
    return Row(
        name, "accuracy", wilson(right, 1000), 1000 * size // 4, 900 * size // 4, 1_000_000, 1000 * size,
        Measurement(ms, 0.95 * ms, 1.05 * ms, 100, "ms"), speed, verdict, wilson(950, 1000),
        Measurement((right - 920) / 1000, -0.1, 0.1, 1000), 0.04, 2_000_000, (f"because of {name}",),
        classification(name, "made test", np.where(wrong, 1 - labels, labels), labels, ("a", "b")),
    )  # fmt: skip


@pytest.fixture
def made():
    rows = [row(*values, verdict="baseline" if i == 0 else "faster") for i, values in enumerate(MADE)]
    rows[0] = replace(rows[0], why=())
    times = np.stack([np.full((6, 2, 3), 1e-3 * values[3]) for values in [*MADE, MADE[0], ("", 0, 0, 0.01)]])
    roles = [*((r.name, "model") for r in rows), ("dense again", "control"), ("an empty model", "overhead")]
    timed = Benchmark(
        tuple(summarise(roles, times, 1)),
        "cpu",
        "it was asked for",
        1,
        {1: (6, 2, 3)},
        (0.5, 0.6),
        0.1,
        "A machine",
    )
    variants = [
        Variant(len, r.name, SIGNATURE).derive(len, "make", {"size": r.bytes}, name=r.name) for r in rows
    ]
    return Comparison(tuple(rows), tuple(variants), timed, "made", "test", "onnxruntime")


def test_best_is_the_cheapest_that_loses_no_more_than_allowed(made):
    assert made.best(max_drop=0.5, by="bytes").name == "slim"
    assert made.best(max_drop=0.2, by="bytes").name == "int8"
    assert made.best(max_drop=0.5, by="latency").name == "int8"
    assert made.best(max_drop=10, by="latency").name == "tiny"
    assert made.best(max_drop=0).name == "dense"
    with pytest.raises(ArgumentError, match="unknown cost 'byte'; did you mean 'bytes'"):
        made.best(by="byte")
    with pytest.raises(ArgumentError, match="cannot be negative"):
        made.best(max_drop=-1)


def test_the_front_holds_whom_nobody_beats_in_both(made):
    assert [r.name for r in made.front("bytes")] == ["tiny", "slim", "int8", "dense"]
    assert [r.name for r in made.front("latency")] == ["tiny", "int8", "dense"]


def test_one_percent_of_latency_does_not_decide_who_is_on_the_front(made):
    dense = made.rows[0]
    twin = replace(dense, name="twin", latency=replace(dense.latency, value=dense.latency.value * 0.995))
    assert {r.name for r in replace(made, rows=(dense, twin)).front("latency")} == {"dense", "twin"}
    smaller = replace(dense, name="twin", bytes=dense.bytes - 1)
    assert [r.name for r in replace(made, rows=(dense, smaller)).front("bytes")] == ["twin"]


def test_a_smaller_error_is_the_better_one_in_regression(made):
    def off(name, rmse, size):
        targets = np.zeros((100, 1), np.float32)
        return replace(
            made[name], metric="rmse", score=Measurement(rmse, rmse, rmse, 100), bytes=size, p=None,
            evaluation=regression(name, "made test", targets + rmse, targets),
        )  # fmt: skip

    lines = replace(
        made,
        rows=(off("dense", 1.0, 100), off("slim", 1.004, 50), off("int8", 1.1, 10)),
        variants=made.variants[:3],
    )
    assert lines.best(max_drop=0.5).name == "slim"
    assert [r.name for r in lines.front("bytes")] == ["int8", "slim", "dense"]
    assert "RMSE" in str(lines)


def test_the_table_fits_a_terminal_and_says_why_below(made):
    text = str(made)
    assert max(map(len, text.splitlines())) <= 110
    header = text.splitlines()[0]
    for column in ("accuracy", "params", "nonzero", "MACs", "kB", "ms", "speed-up", "same", "p"):
        assert column in header
    assert "slim   because of slim" in text
    assert "n = 1,000; batch 1 on onnxruntime, n = 6 blocks × 2 rounds × 3 calls, cpu clock" in text
    assert "A machine" in text
    assert "an empty model takes 0.0100 ms" in text


class Page(HTMLParser):
    """What a screen reader and a browser without network need."""

    def __init__(self, text):
        super().__init__()
        self.open, self.seen, self.pictures, self.addresses = [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.seen.append((tag, attributes))
        self.addresses += [attributes[key] for key in ("src", "href") if key in attributes]
        if tag == "img":
            self.pictures.append(attributes)
        if tag not in {"img", "meta", "br"}:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_the_report_is_one_well_formed_page_that_needs_no_other_file(made, tmp_path):
    path = made.to_html(tmp_path / "runs" / "report.html")
    page = Page(path.read_text(encoding="utf-8"))
    assert page.open == []
    assert len(page.pictures) == 5
    assert all(len(picture["alt"]) > 20 for picture in page.pictures)
    assert all(address.startswith("data:") for address in page.addresses)
    assert ("html", {"lang": "en"}) in page.seen
    text = path.read_text(encoding="utf-8")
    for expected in ("because of tiny", "make(size=100000)", "A machine", "onnxruntime 1.", "n = 1,000"):
        assert expected in text


def test_names_are_escaped_in_pages(made, tmp_path):
    evil = replace(made.rows[1], name="<script>alert(1)</script>", why=("<b>x</b>",))
    text = replace(made, rows=(made.rows[0], evil, *made.rows[2:])).to_html(tmp_path / "r.html").read_text()
    assert "<script>" not in text
    assert "<b>x</b>" not in text


def test_everything_is_fit_for_json(made, tmp_path):
    stored = json.loads(made.to_json(tmp_path / "c.json").read_text())
    assert [r["name"] for r in stored["rows"]] == [values[0] for values in MADE]
    assert stored["rows"][1]["latency"]["value"] == 0.5
    assert stored["recipes"]["slim"] == ["make(size=100000)"]
    assert stored["benchmark"]["clock"] == "cpu"


def test_a_report_that_cannot_be_written_says_so(made, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot write"):
        made.to_html(tmp_path / "file" / "report.html")


def test_rows_are_found_by_name(made):
    assert made["int8"].bytes == 120_000
    with pytest.raises(ArgumentError, match="did you mean 'int8'"):
        made["int"]


def test_pareto_plots_mark_baseline_and_front(made):
    for by in ("bytes", "latency", "macs", "parameters", "memory"):
        figure = made.plot(by=by)
        texts = {text.get_text() for text in figure.axes[0].texts}
        assert texts == {values[0] for values in MADE}
        assert "n = 1,000" in figure._supxlabel.get_text()
    assert kit.device.processor() in figure._supxlabel.get_text().replace("\n", " ")
