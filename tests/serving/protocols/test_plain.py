"""Post a picture or numbers, get labels and probabilities; and the pages for a browser."""

from __future__ import annotations

import io
import subprocess

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def shoe(fashion):
    """A real garment as a PNG, with its name."""
    raw, target = fashion.test.raw[0], int(fashion.test.targets[0])
    buffer = io.BytesIO()
    Image.fromarray(raw[0].numpy()).save(buffer, "PNG")
    return buffer.getvalue(), fashion.signature.classes[target]


def test_a_picture_in_three_ways_and_its_numbers_in_two_give_one_answer(http, shoe, fashion):
    png, _ = shoe
    path = "/predict/convnet-onnx"
    answers = [
        http.post(path, content=png, headers={"Content-Type": "image/png"}),
        http.post(path, content=png, headers={"Content-Type": "application/octet-stream"}),
        http.post(path, files={"file": ("shoe.png", png, "image/png")}),
        http.post(path, json={"raw": fashion.test.raw[0].tolist()}),
        http.post(path, json={"inputs": fashion.test.inputs[:1].tolist()}),
    ]
    found = [answer.json()["predictions"][0] for answer in answers]
    assert {one["label"] for one in found} == {found[0]["label"]}
    for one in found:
        assert one["probability"] == pytest.approx(found[0]["probability"], abs=1e-4)
        assert list(one["probabilities"].values()) == sorted(one["probabilities"].values(), reverse=True)
        assert set(one["probabilities"]) == set(fashion.signature.classes)


def test_the_line_to_copy_works_in_a_shell(service, shoe, tmp_path):
    (tmp_path / "picture.png").write_bytes(shoe[0])
    done = subprocess.run(service.curl, shell=True, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert '"label"' in done.stdout


@pytest.mark.parametrize(
    ("kind", "content", "status"),
    [
        ("image/png", b"no picture", 400),
        ("image/png", b"", 400),
        ("text/csv", b"1,2", 415),
        ("application/json", b"{}", 400),
        ("application/json", b'{"inputs": [1], "raw": [1]}', 400),
        ("application/json", b'{"inputs": [[1], [1, 2]]}', 400),
        ("application/json", b'{"inputs": ["a"]}', 400),
        ("application/json", b'{"inputs": []}', 400),
        ("application/json", b'{"inputs": [NaN]}', 400),
        ("multipart/form-data; boundary=x", b"--x\r\n", 400),
        ("multipart/form-data", b"nothing", 400),
    ],
)
def test_what_is_no_sample_is_refused(http, kind, content, status):
    answer = http.post("/predict/convnet-onnx", content=content, headers={"Content-Type": kind})
    assert answer.status_code == status, answer.text
    assert answer.json()["request_id"] == answer.headers["x-request-id"]


def test_a_small_file_with_too_many_pixels_is_refused(http):
    buffer = io.BytesIO()
    Image.new("1", (6000, 6000)).save(buffer, "PNG")
    assert len(buffer.getvalue()) < 10_000
    answer = http.post(
        "/predict/convnet-onnx", content=buffer.getvalue(), headers={"Content-Type": "image/png"}
    )
    assert answer.status_code == 400
    assert "pixels" in answer.json()["error"]


def test_huge_numbers_become_no_infinity(http):
    sample = np.full((1, 28, 28), 1e300).tolist()
    assert http.post("/predict/convnet-onnx", json={"inputs": sample}).status_code == 400


def test_a_bare_file_has_no_labels(http):
    assert http.post("/predict/picky", json={"inputs": [[1]]}).status_code == 400


def test_pages_are_there_and_run_only_their_own_script(http):
    for path in ("/", "/docs"):
        answer = http.get(path, headers={"Authorization": ""})
        assert answer.status_code == 200
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert answer.headers["x-frame-options"] == "DENY"
        assert "http://" not in answer.text
        assert "https://" not in answer.text
    document = http.get("/openapi.json").json()
    assert "/v2/models/{model}/infer" in document["paths"]
    assert "/predict/{model}" in document["paths"]
