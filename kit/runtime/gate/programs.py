"""A `.pt2` file of torch.export: a graph of named functions, which the loader looks up and calls.

`torch.export.load` takes any name below `torch` (also `torch.os.system`), evaluates shapes as Python, and
opens some entries as pickles. Here only tensor operators, plain arithmetic and plain tensors pass.
"""

from __future__ import annotations

import ast
import json
import re
from math import prod
from typing import TYPE_CHECKING, Any

from kit.errors import ModelError, UnsafeModelError
from kit.runtime.gate import archives, pickles

if TYPE_CHECKING:
    import zipfile
    from collections.abc import Iterator
    from pathlib import Path

_LARGEST = 64 * 2**20  # bytes of the graph, as text
_OPERATOR = re.compile(r"torch\.ops\.aten\.(\w+)\.\w+|_operator\.(\w+)|torch\.(sym_\w+)|math\.(\w+)")
_FORBIDDEN = {"from_file", "save", "load", "warn", "_print", "attrgetter", "methodcaller", "call"}
_NAMES = {
    "Symbol",
    "Integer",
    "Float",
    "Max",
    "Min",
    "Mod",
    "FloorDiv",
    "CeilDiv",
    "PythonMod",
    "Eq",
    "Ne",
    "Rational",
}
_NODES = (
    ast.Expression, ast.Call, ast.Name, ast.Load, ast.Constant, ast.keyword, ast.BinOp, ast.UnaryOp,
    ast.operator, ast.unaryop, ast.Compare, ast.cmpop,
)  # fmt: skip
_ENTRIES = (
    "data/weights/",
    "data/constants/",
    "data/sample_inputs/",
    "models/",
    "archive_",
    ".data/",
    "byteorder",
    "extra/",
    "version",
)
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 2, 7: 4, 8: 8, 12: 1, 13: 2}  # bytes by the number of a dtype


def check(path: Path) -> None:
    """Accept a program of tensor operators.

    Raises:
        ModelError: when it is damaged.
        UnsafeModelError: when it calls anything else, holds a pickle that does, or compiled code.
    """
    names = {name.split("/", 1)[-1]: name for name in archives.check(path)}
    if strange := [name for name in names if not name.startswith(_ENTRIES)]:
        raise UnsafeModelError(
            f"{path} holds {strange[0]!r:.80}, such as compiled code; a program holds none"
        )
    for short, name in names.items():
        if short.startswith("models/"):
            _check_graph(path, _json(path, name))
        elif short.endswith("_config.json"):
            _check_tensors(path, _json(path, name), short.rsplit("/", 1)[0], names)
        elif short.startswith("data/sample_inputs/"):
            _check_sample(path, name)
        elif short.startswith("data/constants/") and not short.rsplit("/", 1)[1].startswith("tensor_"):
            raise UnsafeModelError(
                f"{path} holds the object {short!r:.80}, which runs code when it is opened"
            )
    if not any(short.startswith("models/") for short in names):
        raise ModelError(f"{path} holds no program; export it again")


def _json(path: Path, name: str) -> Any:
    try:
        return json.loads(archives.read(path, name, _LARGEST))
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{path}: {name!r:.80} is no JSON: {error}") from None


def _check_graph(path: Path, content: Any) -> None:
    for key, value in _pairs(content):
        if key == "target" and isinstance(value, str):
            _check_operator(path, value)
        elif key == "expr_str" and isinstance(value, str):
            _check_expression(path, value)
        elif key == "guards_code" and value:
            for line in value:
                _check_expression(path, re.sub(r"L\['\w+'\](\[\d+\])*\.size\(\)\[\d+\]", "1", str(line)))
        elif key == "as_string" and not re.fullmatch(r"[A-Za-z_,>. -]{0,40}", str(value)):
            raise UnsafeModelError(f"{path} hands the text {value!r:.60} to an operator")


def _pairs(content: Any) -> Iterator[tuple[str, Any]]:
    """Yield every key and value, at any depth."""
    waiting = [content]
    while waiting:
        item = waiting.pop()
        if isinstance(item, dict):
            yield from item.items()
            waiting.extend(item.values())
        elif isinstance(item, list):
            waiting.extend(item)


def _check_operator(path: Path, target: str) -> None:
    found = _OPERATOR.fullmatch(target)
    if found is None or next(filter(None, found.groups())) in _FORBIDDEN:
        raise UnsafeModelError(f"{path} calls {target!r:.80}, which is no operator on tensors; do not run it")


def _check_expression(path: Path, text: str) -> None:
    """Shapes are evaluated as Python: let through numbers, names, arithmetic."""
    try:
        tree = list(ast.walk(ast.parse(text, mode="eval"))) if len(text) < 2000 else []
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        tree = []
    good = bool(tree) and all(isinstance(node, _NODES) for node in tree)
    for node in tree:
        if isinstance(node, ast.Call):
            good &= isinstance(node.func, ast.Name) and node.func.id in _NAMES
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            good &= bool(re.fullmatch(r"[a-z]\w{0,20}", node.value))
        elif isinstance(node, (ast.Pow, ast.LShift)):
            good = False
        elif isinstance(node, ast.Constant):
            good &= not isinstance(node.value, int) or abs(node.value) < 2**63
    if not good:
        raise UnsafeModelError(f"{path} gives {text!r:.80} as a shape, which is more than arithmetic")


def _check_tensors(path: Path, content: Any, folder: str, names: dict[str, str]) -> None:
    """Each stored tensor is plain, and its strided view stays inside its bytes."""
    entries = _sizes(path)
    for key, entry in content.get("config", {}).items():
        if entry.get("use_pickle"):
            raise UnsafeModelError(f"{path} keeps {key!r:.60} as a pickle, which runs code; {pickles.ADVICE}")
        inside, meta = f"{folder}/{entry.get('path_name')}", entry.get("tensor_meta") or {}
        if inside not in names:
            raise ModelError(f"{path}: the weights {key!r:.60} are missing")
        sides, strides = (
            [side.get("as_int", -1) for side in meta.get(kind, ())] for kind in ("sizes", "strides")
        )
        start = (meta.get("storage_offset") or {}).get("as_int", -1)
        if min([0, start, *sides, *strides]) < 0 or len(sides) != len(strides):
            raise UnsafeModelError(
                f"{path}: {key!r:.60} has the impossible shape {sides[:8]} by {strides[:8]}"
            )
        last = start + sum((side - 1) * step for side, step in zip(sides, strides, strict=True))
        each = _SIZES.get(meta.get("dtype", 0), 1)
        if prod(sides) and (
            (last + 1) * each > entries[names[inside]] or prod(sides) * each > entries[names[inside]]
        ):
            raise UnsafeModelError(f"{path}: {key!r:.60} is declared {sides[:8]}, more than its bytes hold")


def _sizes(path: Path) -> dict[str, int]:
    import zipfile

    with zipfile.ZipFile(path) as archive:
        return {entry.filename: entry.file_size for entry in archive.infolist()}


def _check_sample(path: Path, name: str) -> None:
    """The example inputs are an archive of their own, with a pickle inside."""
    import io
    import zipfile

    content = archives.read(path, name, _LARGEST)
    if not content:
        return
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as inner:
            entries: list[zipfile.ZipInfo] = [e for e in inner.infolist() if e.filename.endswith(".pkl")]
            if sum(e.file_size for e in entries) > len(content):
                raise UnsafeModelError(
                    f"{path}: its example inputs unpack to more than they take: a zip bomb"
                )
            for entry in entries:
                pickles.scan(path, inner.read(entry))
    except zipfile.BadZipFile:
        raise UnsafeModelError(f"{path} holds example inputs as a plain pickle, which runs code") from None
