"""pyproject, constraints and environment.yml tell the same story."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]


def canonical(name):
    return re.sub(r"[-_.]+", "-", name).lower()


def pins():
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    return dict(line.split("==") for line in lines if line and not line.startswith("#"))


def test_every_requirement_is_pinned_within_its_range():
    pinned = pins()
    wanted = PROJECT["dependencies"] + [
        line for name, lines in EXTRAS.items() if name != "all" for line in lines
    ]
    for line in wanted:
        requirement = Requirement(line)
        version = pinned.get(canonical(requirement.name))
        assert version, f"{requirement.name} is not in constraints.txt"
        assert requirement.specifier.contains(Version(version)), f"{line} does not admit the pin {version}"


def test_torch_is_the_version_that_everything_was_measured_with():
    assert pins()["torch"] == "2.13.0"
    assert "torchvision" not in pins()


def test_all_names_every_extra_that_a_user_wants():
    (line,) = EXTRAS["all"]
    assert Requirement(line).extras == set(EXTRAS) - {"all", "test", "bench"}


def test_conda_environment_installs_the_same_project_under_the_same_constraints():
    text = (ROOT / "environment.yml").read_text()
    python = re.search(r"python=([\d.]+)", text).group(1)
    assert Version(python) in Requirement(f"python{PROJECT['requires-python']}").specifier
    assert "--constraint constraints.txt" in text
    extras = set(re.search(r"--editable \.\[([\w,]+)\]", text).group(1).split(","))
    assert extras <= set(EXTRAS)
    assert f"'.[{','.join(sorted(extras, reverse=True))}]'" in (ROOT / "Makefile").read_text()
    assert "maaskit" in text


def test_changelog_knows_the_version():
    from kit import __version__

    assert PROJECT["version"] == __version__
    assert f"[{__version__}]" in (ROOT / "CHANGELOG.md").read_text()
