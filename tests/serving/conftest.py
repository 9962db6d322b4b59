"""Services that listen on 127.0.0.1, at a port the system chooses, and end with the tests."""

from __future__ import annotations

import httpx
import onnx
import pytest
from onnx import TensorProto, helper

import kit


@pytest.fixture(scope="session")
def folder(trained, fashion, tmp_path_factory):
    """A model folder with an ONNX file."""
    return kit.save(kit.export(trained, data=fashion), tmp_path_factory.mktemp("models") / "garments")


@pytest.fixture(scope="session")
def service(folder, tmp_path_factory):
    """A service of a folder, and of bare files that take every datatype, raise, or take their time."""
    files = tmp_path_factory.mktemp("files")
    models = [folder, *(identity(files, kind) for kind in KINDS), picky(files), slow(files)]
    with kit.serve(*models, seconds=5, body_limit=2**20, waiting=8) as running:
        yield running


@pytest.fixture
def http(service):
    """Plain HTTP with the owner's key."""
    headers = {"Authorization": f"Bearer {service.key}"}
    with httpx.Client(base_url=service.address, headers=headers, timeout=30, trust_env=False) as client:
        yield client


KINDS = {
    "BOOL": TensorProto.BOOL,
    "UINT8": TensorProto.UINT8,
    "UINT16": TensorProto.UINT16,
    "UINT32": TensorProto.UINT32,
    "UINT64": TensorProto.UINT64,
    "INT8": TensorProto.INT8,
    "INT16": TensorProto.INT16,
    "INT32": TensorProto.INT32,
    "INT64": TensorProto.INT64,
    "FP16": TensorProto.FLOAT16,
    "FP32": TensorProto.FLOAT,
    "FP64": TensorProto.DOUBLE,
    "BYTES": TensorProto.STRING,
}


def identity(folder, kind):
    """An ONNX file that gives back what it gets."""
    return _write(
        folder / f"same-{kind}.onnx",
        [helper.make_node("Identity", ["x"], ["y"])],
        [("x", KINDS[kind], ["rows", "columns"])],
        [("y", KINDS[kind], ["rows", "columns"])],
    )


def picky(folder):
    """A model that fails on the row that asks for what is not there: index 7 of a table of five."""
    table = helper.make_tensor("table", TensorProto.FLOAT, [5], [0.0, 1.0, 2.0, 3.0, 4.0])
    return _write(
        folder / "picky.onnx",
        [helper.make_node("Gather", ["table", "index"], ["value"])],
        [("index", TensorProto.INT64, ["rows", 1])],
        [("value", TensorProto.FLOAT, ["rows", 1])],
        [table],
    )


def slow(folder):
    """A model that squares a matrix as often as it is told to, row by row: its own clock, so to speak."""
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["going"], ["on"]),
            helper.make_node("MatMul", ["state", "matrix"], ["next"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("step", TensorProto.INT64, []),
            helper.make_tensor_value_info("going", TensorProto.BOOL, []),
            helper.make_tensor_value_info("state", TensorProto.FLOAT, ["rows", 256]),
        ],
        [
            helper.make_tensor_value_info("on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("next", TensorProto.FLOAT, ["rows", 256]),
        ],
        [helper.make_tensor("matrix", TensorProto.FLOAT, [256, 256], [0.0] * 256**2)],
    )
    return _write(
        folder / "slow.onnx",
        [
            helper.make_node("ReduceMax", ["steps"], ["most"], keepdims=0),
            helper.make_node("Loop", ["most", "", "start"], ["end"], body=body),
        ],
        [("steps", TensorProto.INT64, ["rows", 1]), ("start", TensorProto.FLOAT, ["rows", 256])],
        [("end", TensorProto.FLOAT, ["rows", 256])],
    )


def _write(path, nodes, inputs, outputs, constants=()):
    taken, given = ([helper.make_tensor_value_info(*one) for one in values] for values in (inputs, outputs))
    graph = helper.make_graph(nodes, path.stem, taken, given, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model)
    onnx.save(model, path)
    return path


@pytest.fixture
def slow_file(tmp_path):
    """The file of the slow model."""
    return slow(tmp_path)


@pytest.fixture
def busy():
    """Makes the body of a request that keeps the slow model busy for so many steps."""

    def make(steps, rows=1):
        start = {"name": "start", "datatype": "FP32", "shape": [rows, 256], "data": [0.0] * (256 * rows)}
        count = {"name": "steps", "datatype": "INT64", "shape": [rows, 1], "data": [steps] * rows}
        return {"inputs": [count, start]}

    return make
