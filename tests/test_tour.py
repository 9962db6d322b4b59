from __future__ import annotations

import re
import subprocess
import sys

import kit
from kit.tour import tour


def test_the_whole_way_in_small(tmp_path, fashion, capsys):
    comparison = tour(tmp_path, data=fashion.subset(2000, 1000, 1000))
    names = [
        "convnet",
        "convnet pruned 50%",
        "mobilenet distilled",
        "convnet int8",
        "convnet pruned 50% int8",
    ]
    assert [row.name for row in comparison.rows] == names
    printed = capsys.readouterr().out
    for name in names:
        assert name in printed
    report = (tmp_path / "report.html").read_text()
    assert report.count("<img") + report.count("<svg") >= 3
    assert not re.search(r"(src|href)=[\"']https?:", report), "the report needs no network"
    folders = sorted(path.name for path in (tmp_path / "models").iterdir())
    assert len(folders) == 5
    again = kit.load(tmp_path / "models" / "convnet-pruned-50-int8")
    chosen = next(v for v in comparison.variants if v.name == "convnet pruned 50% int8")
    assert (again(fashion.test.inputs[:50]) == chosen(fashion.test.inputs[:50])).all()
    dense, slim = comparison.rows[:2]
    assert slim.bytes < dense.bytes / 3
    assert slim.macs < dense.macs / 3


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "file").write_text("in the way")
    command = [sys.executable, "-m", "kit", "tour", "--folder", str(tmp_path / "file" / "x")]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert result.stderr.startswith("kit: cannot write")
    assert result.stderr.count("\n") == 1
