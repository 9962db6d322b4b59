"""The Open Inference Protocol as clients speak it that no one here wrote, and what it refuses."""

from __future__ import annotations

import json

import numpy as np
import pytest
from tritonclient import http as triton
from tritonclient.utils import InferenceServerException, np_to_triton_dtype

VALUES = {
    "BOOL": np.array([[True, False], [False, True]]),
    "FP16": np.array([[1.1, -0.0], [6e-8, 65504]], np.float16),
    "FP32": np.array([[0.1, -0.0], [1e-45, 3.4028235e38]], np.float32),
    "FP64": np.array([[0.1, -0.0], [5e-324, 1.7976931348623157e308]], np.float64),
    "BYTES": np.array([["a", "äöü"], ["", '"\\']], object),
} | {
    f"{sign}INT{bits}": np.array(
        [[np.iinfo(f"{sign.lower()}int{bits}").min, np.iinfo(f"{sign.lower()}int{bits}").max], [0, 1]],
        f"{sign.lower()}int{bits}",
    )
    for sign in ("", "U")
    for bits in (8, 16, 32, 64)
}


@pytest.fixture
def client(service):
    made = triton.InferenceServerClient(service.address.removeprefix("http://"))
    yield made
    made.close()


@pytest.fixture
def key(service):
    return {"Authorization": f"Bearer {service.key}"}


@pytest.mark.parametrize(
    ("kind", "binary"),
    [(kind, True) for kind in VALUES] + [(kind, False) for kind in VALUES if kind != "FP16"],  # as Triton's
)
def test_every_datatype_comes_back_bit_by_bit(client, key, kind, binary):
    value = VALUES[kind]
    given = triton.InferInput("x", list(value.shape), np_to_triton_dtype(value.dtype))
    given.set_data_from_numpy(value, binary_data=binary)
    wanted = triton.InferRequestedOutput("y", binary_data=binary)
    answer = client.infer(f"same-{kind}", [given], outputs=[wanted], request_id="7", headers=key)
    back = answer.as_numpy("y")
    assert answer.get_response()["id"] == "7"
    if kind == "BYTES":
        texts = [v.decode() if isinstance(v, bytes) else v for v in back.reshape(-1)]
        assert texts == value.reshape(-1).tolist()
    else:
        assert back.dtype == value.dtype
        assert back.tobytes() == value.tobytes()


def test_triton_sees_health_metadata_and_the_repository(client, key, folder):
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("convnet-onnx", headers=key)
    assert client.is_model_ready("convnet-onnx", "1", headers=key)
    assert not client.is_model_ready("convnet-onnx", "9", headers=key)
    assert "binary_tensor_data" in client.get_server_metadata(headers=key)["extensions"]
    told = client.get_model_metadata("convnet-onnx", headers=key)
    assert told["inputs"] == [{"name": "input", "datatype": "FP32", "shape": [-1, 1, 28, 28]}]
    assert told["versions"] == ["1"]
    names = {entry["name"] for entry in client.get_model_repository_index(headers=key)}
    assert {"convnet-onnx", "slow", "picky"} <= names
    with pytest.raises(InferenceServerException, match="401"):
        client.get_model_metadata("convnet-onnx")


def tensor(**changed):
    return {"name": "x", "shape": [1, 2], "datatype": "INT8", "data": [1, 2]} | changed


BAD = {
    "no JSON": b"{",
    "empty": b"",
    "not UTF-8": b'{"inputs": "\xff"}',
    "NaN": b'{"inputs": [{"name": "x", "shape": [1, 1], "datatype": "INT8", "data": [NaN]}]}',
    "huge number": b'{"inputs": [{"name": "x", "shape": [1, 1], "datatype": "INT8", "data": [1e999]}]}',
    "deep": b'{"inputs": ' + b"[" * 5000 + b"]" * 5000 + b"}",
    "deep data": json.dumps({"inputs": [tensor(data=eval("[" * 70 + "1" + "]" * 70))]}).encode(),
    "a key twice": b'{"inputs": [], "inputs": []}',
    "no object": b"[]",
    "no inputs": b"{}",
    "inputs are no list": b'{"inputs": 7}',
    "id is no string": json.dumps({"id": 1, "inputs": [tensor()]}).encode(),
} | {
    name: json.dumps({"inputs": inputs}).encode()
    for name, inputs in {
        "unknown input": [tensor(name="z")],
        "input twice": [tensor(), tensor()],
        "missing input": [],
        "unknown datatype": [tensor(datatype="INT9")],
        "datatype of another": [tensor(datatype="INT16")],
        "wrong rank": [tensor(shape=[2])],
        "negative shape": [tensor(shape=[-1, -2])],
        "shape of fractions": [tensor(shape=[1.0, 2])],
        "vast shape": [tensor(shape=[2**30, 2**30])],
        "shape is no list": [tensor(shape="1,2")],
        "too few": [tensor(data=[1])],
        "ragged": [tensor(shape=[2, 2], data=[[1, 2], [3]])],
        "nested otherwise": [tensor(data=[[1], [2]])],
        "too large a value": [tensor(data=[1, 128])],
        "a fraction": [tensor(data=[1, 1.5])],
        "a string": [tensor(data=["1", "2"])],
        "booleans": [tensor(data=[True, False])],
        "null": [tensor(data=[1, None])],
        "no data": [{"name": "x", "shape": [1, 2], "datatype": "INT8"}],
        "no rows": [tensor(shape=[0, 2], data=[])],
        "binary without bytes": [{**tensor(parameters={"binary_data_size": 2}), "data": [1, 2]}],
        "negative size": [
            {"name": "x", "shape": [1, 2], "datatype": "INT8", "parameters": {"binary_data_size": -2}}
        ],
    }.items()
}


@pytest.mark.parametrize("body", BAD.values(), ids=BAD.keys())
def test_what_does_not_fit_is_refused_before_the_runtime(http, body):
    answer = http.post("/v2/models/same-INT8/infer", content=body)
    assert answer.status_code == 400
    told = answer.json()
    assert told["error"]
    assert told["request_id"] == answer.headers["x-request-id"]
    for leak in ("Traceback", "onnxruntime", "numpy", "orjson", ".py"):
        assert leak not in answer.text


@pytest.mark.parametrize(
    ("length", "size", "raw"),
    [(None, 3, b"12"), (None, 2, b"123"), (10**6, 2, b"12"), (-1, 2, b"12"), (None, 2, b"")],
    ids=["beyond the end", "bytes left over", "no such length", "negative", "no bytes"],
)
def test_binary_data_must_be_exactly_as_long_as_it_says(http, length, size, raw):
    entry = {"name": "x", "shape": [1, 2], "datatype": "INT8", "parameters": {"binary_data_size": size}}
    head = json.dumps({"inputs": [entry]}).encode()
    sent = {"Inference-Header-Content-Length": str(len(head) if length is None else length)}
    answer = http.post("/v2/models/same-INT8/infer", content=head + raw, headers=sent)
    assert answer.status_code == 400


def test_strings_are_counted_and_measured(http):
    def send(raw):
        entry = {
            "name": "x",
            "shape": [1, 2],
            "datatype": "BYTES",
            "parameters": {"binary_data_size": len(raw)},
        }
        head = json.dumps({"inputs": [entry]}).encode()
        sent = {"Inference-Header-Content-Length": str(len(head))}
        return http.post("/v2/models/same-BYTES/infer", content=head + raw, headers=sent)

    assert send(b"\1\0\0\0a\0\0\0\0").json()["outputs"][0]["data"] == ["a", ""]
    for raw in (
        b"\1\0\0\0\xff\0\0\0\0",
        b"\1\0\0\0a",
        b"\1\0\0\0a\xff\xff\xff\xffb",
        b"\1\0\0\0a\1\0\0\0b\1\0\0\0c",
        b"\1\0",
    ):
        assert send(raw).status_code == 400


def test_only_the_outputs_asked_for_and_none_unknown(http):
    body = {"inputs": [tensor()], "outputs": [{"name": "z"}]}
    assert http.post("/v2/models/same-INT8/infer", json=body).status_code == 400
    body["outputs"] = [{"name": "y"}]
    assert http.post("/v2/models/same-INT8/infer", json=body).json()["outputs"][0]["data"] == [1, 2]


def test_unknown_models_versions_and_methods(http):
    assert http.post("/v2/models/none/infer", json={"inputs": []}).status_code == 404
    assert http.post("/v2/models/same-INT8/versions/9/infer", json={"inputs": []}).status_code == 404
    assert http.get("/v2/models/same-INT8/infer").status_code == 405
    assert http.get("/nowhere").status_code == 404


def test_nan_does_not_reach_a_net(http):
    for value in (np.nan, np.inf, -np.inf):
        raw = np.full((1, 1, 28, 28), value, np.float32).tobytes()
        entry = {"name": "input", "shape": [1, 1, 28, 28], "datatype": "FP32"}
        head = json.dumps({"inputs": [entry | {"parameters": {"binary_data_size": len(raw)}}]}).encode()
        sent = {"Inference-Header-Content-Length": str(len(head))}
        answer = http.post("/v2/models/convnet-onnx/infer", content=head + raw, headers=sent)
        assert answer.status_code == 400
        assert "NaN or infinity" in answer.json()["error"]
