import json
import struct

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import load_file

from kit.errors import ModelError, UnsafeModelError
from kit.runtime.gate import check, read, side_files, weights
from kit.runtime.onnx_model import OnnxModel


def write(path, location=None):
    """Write a net of one weight, which may lie in a side file."""
    weight = numpy_helper.from_array(np.ones((3, 3), np.float32), "weight")
    if location is not None:
        weight.data_location = TensorProto.EXTERNAL
        weight.ClearField("raw_data")
        weight.external_data.add(key="location", value=location)
        weight.external_data.add(key="length", value="36")
    values = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["batch", 3]) for n in ("input", "output")]
    product = helper.make_node("MatMul", ["input", "weight"], ["output"])
    graph = helper.make_graph([product], "net", values[:1], values[1:], [weight])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), path)
    return path


def test_a_good_file_passes(tmp_path):
    path = write(tmp_path / "net.onnx")
    assert check(path) == path
    assert list(side_files(read(path))) == []


def test_a_side_file_beside_the_model_is_used(tmp_path):
    path = write(tmp_path / "net.onnx", "weights.bin")
    (tmp_path / "weights.bin").write_bytes(np.full(9, 2, np.float32).tobytes())
    assert list(side_files(read(path))) == ["weights.bin"]
    assert OnnxModel(path)(np.ones((1, 3), np.float32)).tolist() == [[6, 6, 6]]


@pytest.mark.parametrize("location", ["../weights.bin", "/etc/hostname", "a/../../weights.bin", "link.bin"])
def test_a_side_file_outside_the_folder_is_refused_whether_or_not_it_is_there(tmp_path, location):
    (tmp_path / "weights.bin").write_bytes(bytes(36))
    home = tmp_path / "model"
    home.mkdir()
    (home / "link.bin").symlink_to(tmp_path / "weights.bin")
    with pytest.raises(UnsafeModelError, match="outside its own folder"):
        check(write(home / "net.onnx", location))


def test_a_side_file_hidden_in_a_subgraph_is_found(tmp_path):
    inner = onnx.load(write(tmp_path / "inner.onnx", "../weights.bin"), load_external_data=False).graph
    branch = helper.make_node("If", ["condition"], ["output"], then_branch=inner, else_branch=inner)
    value = helper.make_tensor_value_info("condition", TensorProto.BOOL, [])
    graph = helper.make_graph([branch], "net", [value], [inner.output[0]])
    onnx.save(helper.make_model(graph), tmp_path / "outer.onnx")
    with pytest.raises(UnsafeModelError):
        check(tmp_path / "outer.onnx")


def test_what_is_no_onnx_file_is_said_in_one_line(tmp_path):
    path = tmp_path / "net.onnx"
    with pytest.raises(ModelError, match="does not exist"):
        check(path)
    for content in (b"", b"not a model at all", write(path).read_bytes()[:-20]):
        path.write_bytes(content)
        with pytest.raises(ModelError, match=r"is no ONNX file|holds no ONNX graph") as caught:
            check(path)
        assert "\n" not in str(caught.value)
    (tmp_path / "net.bin").write_bytes(write(path).read_bytes())
    with pytest.raises(ModelError, match=r"no \.onnx file"):
        check(tmp_path / "net.bin")
    with pytest.raises(ModelError, match=r"side file 'gone\.bin', which is missing"):
        check(write(path, "gone.bin"))


@pytest.mark.parametrize("second", range(6))
def test_a_header_as_long_as_a_pickles_mark_is_no_pickle(tmp_path, second):
    header = json.dumps({"w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
    length = 0x80 + 256 * second
    file = tmp_path / "model.safetensors"
    file.write_bytes(struct.pack("<Q", length) + header.ljust(length) + bytes(4))
    weights.check(file)
    assert load_file(file)["w"].shape == (1,)
