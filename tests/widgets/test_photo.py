from __future__ import annotations

import io
import time

import numpy as np
import pytest
from PIL import Image

from kit.widgets import Photo


def file(array, kind="PNG", **settings):
    content = io.BytesIO()
    Image.fromarray(array).save(content, kind, **settings)
    return content.getvalue()


@pytest.fixture
def panel(trained):
    return Photo(trained)


def test_a_test_image_given_as_a_photo_gets_the_same_answer(panel, trained, fashion):
    for index in range(5):
        panel.drop.give(file(fashion.test.raw[index, 0].numpy()))
        panel.invert.value = "never"
        expected = trained.signature.classes[int(trained(fashion.test.inputs[index : index + 1]).argmax())]
        assert panel.answers[0].outputs[0][0] == expected


def test_what_comes_from_the_browser_is_read(panel, fashion):
    content = file(fashion.test.raw[0, 0].numpy())
    panel.drop._handle_custom_msg({"name": "boot.png", "problem": ""}, [memoryview(content)])
    assert panel.answers
    panel.drop._handle_custom_msg({"name": "x", "problem": "the file is empty (0 bytes)"}, [])
    assert "0 bytes" in panel.frame.alert
    assert panel.answers == []


def test_a_photo_on_a_light_ground_is_inverted_and_it_is_said(panel, fashion):
    panel.drop.give(file(255 - fashion.test.raw[0, 0].numpy()))
    assert "inverted" in panel.frame.status
    inverted = panel.raw
    panel.invert.value = "never"
    assert "inverted" not in panel.frame.status
    assert not np.array_equal(panel.raw.numpy(), inverted.numpy())
    assert "invert=False" in panel.code


CUT = file(np.random.default_rng(0).integers(0, 255, (64, 64), np.uint8))[:2000]


@pytest.mark.parametrize(
    "content", [b"", b"\x89PNG\r\n\x1a\n", b"no picture", CUT], ids=["0 bytes", "header", "text", "cut"]
)
def test_what_is_no_picture_is_said_and_the_next_one_works(panel, fashion, content):
    panel.drop.give(file(fashion.test.raw[0, 0].numpy()))
    panel.drop.give(content)
    assert "picture" in panel.frame.alert
    assert panel.answers == []
    panel.drop.give(file(fashion.test.raw[0, 0].numpy()))
    assert panel.frame.alert == ""
    assert panel.answers


def test_a_photo_of_forty_megapixels_is_answered_in_moments(panel):
    shades = np.linspace(0, 255, 8000, dtype=np.uint8)
    content = file(np.broadcast_to(shades, (5000, 8000)).copy(), "JPEG")
    begin = time.process_time()
    panel.drop.give(content)
    assert time.process_time() - begin < 10
    assert panel.frame.alert == ""
    assert panel.raw.shape == (1, 28, 28)
