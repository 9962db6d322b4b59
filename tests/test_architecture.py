"""The house: who may import whom, how cheap `import kit` is, how large a room may be."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import kit
from kit.errors import ArgumentError, MissingExtraError, nearest, require, unknown

ROOT = Path(kit.__file__).parent
FLOORS = {
    "errors": 1,
    "files": 1,
    "statistics": 1,
    "device": 1,
    "gauges": 1,
    "variant": 1,
    "notebook": 1,
    "exercises": 1,
    "lessons": 1,
    "media": 1,
    "plots": 1,
    "data": 2,
    "models": 2,
    "training": 3,
    "runtime": 3,
    "conversion": 4,
    "measurement": 4,
    "compression": 5,
    "serving": 5,
    "widgets": 6,
    "doctor": 7,
    "lab": 7,
    "workshop": 7,
    "tour": 7,
    "__main__": 8,
}
# On one floor nobody imports a neighbour, but for these two:
SAME_FLOOR = {"measurement": {"conversion"}}  # comparing modules exports them first
GROUND = {name for name, floor in FLOORS.items() if floor == 1}  # floor 1 is one flat of many rooms


def imports(path: Path) -> set[str]:
    """Every room that a file imports, anywhere in it."""
    rooms = set()
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module] + [f"{node.module}.{alias.name}" for alias in node.names]
        rooms |= {name.split(".")[1] for name in names if name.startswith("kit.")}
    return rooms & set(FLOORS)


@pytest.mark.parametrize("path", sorted(ROOT.rglob("*.py")), ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_go_downwards_only(path):
    room = path.relative_to(ROOT).parts[0].removesuffix(".py")
    if room == "__init__":
        return
    assert room in FLOORS, f"{room} has no floor: give it one here and in CONTRIBUTING.md"
    for other in imports(path) - {room}:
        allowed = (
            FLOORS[other] < FLOORS[room] or other in SAME_FLOOR.get(room, set()) or {room, other} <= GROUND
        )
        assert allowed, f"{path.name} (floor {FLOORS[room]}) imports {other} (floor {FLOORS[other]})"


def test_floor_check_sees_imports_inside_functions(tmp_path):
    file = tmp_path / "x.py"
    file.write_text("def f():\n    from kit.compression import prune\n    import kit.tour\n")
    assert imports(file) == {"compression", "tour"}


def test_import_kit_loads_no_heavy_library():
    heavy = {"torch", "numpy", "onnxruntime", "matplotlib", "ipywidgets"}
    code = f"import sys, kit; print(sorted({heavy} & set(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_every_public_name_resolves():
    for name in kit.__all__:
        assert getattr(kit, name) is not None
    assert set(kit.__all__) <= set(dir(kit))


def test_an_unknown_name_gets_a_suggestion():
    with pytest.raises(AttributeError, match="did you mean 'quantize'"):
        kit.quantise  # noqa: B018


def test_nearest_names():
    assert nearest("fasion", ["fashion", "mnist"]) == "; did you mean 'fashion'?"
    assert nearest("qqq", ["fashion"]) == ""
    error = unknown("loss", "cross_entropi", ["mse", "cross_entropy"])
    assert isinstance(error, ArgumentError)
    assert "did you mean 'cross_entropy'" in str(error)
    assert "Known: cross_entropy, mse" in str(error)


def test_a_missing_library_names_its_extra():
    with pytest.raises(MissingExtraError, match=r"\.\[openvino\]"):
        require("no_such_library_at_all", "openvino")


def test_no_room_outgrows_its_idea():
    long = {
        str(p.relative_to(ROOT)): n
        for p in ROOT.rglob("*.py")
        if (n := len(p.read_text().splitlines())) > 350
    }
    assert not long, f"usually two ideas in one: {long}"
