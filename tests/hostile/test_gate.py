"""Hostile files are refused, each in one line, in a moment, without filling the memory; good ones are not."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

import kit
from kit.runtime import gate
from kit.runtime.formats import find

HERE = Path(__file__).parent
SPEC = importlib.util.spec_from_file_location("corpus", HERE / "corpus.py")
corpus = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(corpus)


@pytest.fixture(scope="module")
def answers(tmp_path_factory):
    """What one fresh process said to each file."""
    folder = tmp_path_factory.mktemp("hostile")
    paths = {name: str(path) for name, path in corpus.write(folder).items()}
    (folder / "paths.json").write_text(json.dumps(paths))
    command = [sys.executable, str(HERE / "attempt.py"), str(folder / "paths.json")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)
    assert not done.returncode, done.stderr[-2000:]
    assert "harm" not in done.stdout.splitlines()  # what the pickles would print
    found = {line["name"]: line for line in map(json.loads, done.stdout.splitlines())}
    worst = {kind: max(found.values(), key=lambda line: line[kind]) for kind in ("seconds", "megabytes")}
    print(f"refused {sum(line['unsafe'] for line in found.values())}/{len(paths)};", *(
        f"worst {line[kind]:.2f} {kind} ({line['name']})" for kind, line in worst.items()))  # fmt: skip
    return found


def test_the_corpus_is_large():
    assert len(corpus.CASES) >= 60


@pytest.mark.parametrize("name", corpus.CASES)
def test_is_refused(answers, name):
    answer = answers[name]
    assert answer["unsafe"], f"{answer['kind']}: {answer['text']}"
    assert "\n" not in answer["text"]
    assert answer["seconds"] <= 1.0  # of this process's own time: another's load does not count
    assert answer["megabytes"] <= 200


def test_files_of_every_kind_pass(tmp_path, trained, fashion):
    few = fashion.subset(60, 20, 20)
    for form in ("onnx", "pt2", "state_dict", "openvino", "keras"):
        path = kit.convert(trained, form, data=few, path=tmp_path / f"net{find(form).suffix}")
        assert gate.inspect(tmp_path / f"net{find(form).suffix}") == form, path
