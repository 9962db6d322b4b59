from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from kit.data import read_picture
from kit.data.pictures import centred, image_shape
from kit.errors import DataError, ModelError
from kit.media import Picture
from kit.variant import Signature

GREY = Signature("classification", (1, 28, 28), tuple("ab"), 2)
COLOUR = Signature("classification", (3, 20, 30), tuple("ab"), 2)


def encoded(image, kind="PNG", **settings):
    content = io.BytesIO()
    image.save(content, kind, **settings)
    return content.getvalue()


def test_a_picture_of_the_right_size_stays_as_it_is(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 120, (28, 28), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "p.png")
    found = read_picture(tmp_path / "p.png", GREY)
    assert np.array_equal(found.raw[0].numpy(), pixels)
    assert (found.inverted, found.size) == (False, (28, 28))


def test_a_light_border_is_inverted_unless_told_otherwise():
    pixels = np.full((28, 28), 250, np.uint8)
    pixels[10:18, 10:18] = 10
    content = encoded(Image.fromarray(pixels))
    assert np.array_equal(read_picture(content, GREY).raw[0].numpy(), 255 - pixels)
    assert np.array_equal(read_picture(content, GREY, invert=False).raw[0].numpy(), pixels)
    dark = encoded(Image.fromarray(255 - pixels))
    assert np.array_equal(read_picture(dark, GREY, invert=True).raw[0].numpy(), pixels)


def test_the_whole_picture_is_seen_without_distortion():
    wide = Image.new("L", (280, 70), 20)
    wide.paste(200, (0, 0, 70, 70))  # a light square at the left end
    raw = read_picture(encoded(wide), GREY, invert=False).raw[0].numpy()
    rows, columns = np.nonzero(raw > 110)
    assert (np.ptp(rows) + 1, np.ptp(columns) + 1) == (7, 7)  # still a square
    assert columns.min() == 0


def test_an_upright_picture_from_a_camera_held_sideways():
    image = Image.new("L", (40, 20), 0)
    image.paste(255, (0, 0, 20, 20))
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees
    raw = read_picture(encoded(image, "JPEG", exif=exif), GREY, invert=False).raw[0].float()
    assert raw[:14].mean() > raw[14:].mean() + 50


def test_transparent_parts_count_as_white_and_colours_stay():
    image = Image.new("RGBA", (30, 20), (0, 0, 0, 0))
    image.paste((255, 0, 0, 255), (10, 5, 20, 15))
    raw = read_picture(encoded(image), COLOUR).raw
    assert raw.shape == (3, 20, 30)
    assert raw[:, 10, 15].tolist() == [255, 0, 0]
    assert raw[:, 0, 0].tolist() == [255, 255, 255]


@pytest.mark.parametrize("content", [b"", b"nothing", b"GIF89a"])
def test_what_cannot_be_read_is_said(content):
    with pytest.raises(DataError, match="picture"):
        read_picture(content, GREY)


def test_a_cut_off_file_is_said():
    content = encoded(Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64), np.uint8)))
    with pytest.raises(DataError, match="no picture that can be read"):
        read_picture(content[: len(content) // 2], GREY)


def test_a_decompression_bomb_is_not_opened():
    bomb = encoded(Image.new("1", (20_000, 20_000)))
    assert len(bomb) < 100_000
    with pytest.raises(DataError, match="too large"):
        read_picture(bomb, GREY)


def test_models_that_take_no_pictures():
    with pytest.raises(ModelError, match=r"\(1 or 3, height, width\)"):
        image_shape(Signature("regression", (5,), (), 1))


def test_a_drawing_is_scaled_and_centred_as_mnist_was():
    raw = torch.zeros(1, 28, 28, dtype=torch.uint8)
    raw[0, 2:7, 1:4] = 255
    placed = centred(raw)[0].numpy()
    rows, columns = np.nonzero(placed > 127)
    assert np.ptp(rows) + 1 == 20
    assert np.ptp(columns) + 1 == 12
    mass = placed.astype(float)
    for axis in (0, 1):
        centre = (mass.sum(1 - axis) * np.arange(28)).sum() / mass.sum()
        assert abs(centre - 13.5) <= 1


def test_an_empty_drawing_stays_empty():
    assert not centred(torch.zeros(1, 28, 28, dtype=torch.uint8)).any()


def test_a_card_may_say_that_the_middle_is_cut_out_and_nothing_inverted():
    pixels = np.zeros((320, 640), np.uint8)
    pixels[:, :160] = pixels[:, -160:] = 255  # what a cut of the middle square does not see
    pixels[:10] = 200
    content = encoded(Image.fromarray(pixels))
    cut = replace(GREY, media=Picture(crop=0.875, invert=False))
    found = read_picture(content, cut)
    assert not found.inverted
    assert int(found.raw.max()) < 100  # 4 % above and below are cut off, too
    whole = read_picture(content, replace(GREY, media=Picture(invert=True)))
    assert whole.inverted
    assert int(read_picture(content, cut, invert=True).raw.min()) > 155


def test_a_cut_is_the_resize_and_centre_crop_that_imagenet_nets_know():
    noise = np.random.default_rng(0).integers(0, 255, (300, 300, 3), np.uint8)
    smooth = Image.fromarray(noise).resize((30, 20)).resize((600, 400), Image.Resampling.BICUBIC)
    signature = Signature("classification", (3, 224, 224), tuple("ab"), 2, media=Picture(crop=0.875))
    scaled = smooth.resize((384, 256), Image.Resampling.BICUBIC)
    expected = np.asarray(scaled.crop((80, 16, 304, 240))).transpose(2, 0, 1)
    found = read_picture(smooth, signature).raw.numpy()
    assert np.abs(found.astype(int) - expected).max() <= 3


@pytest.mark.parametrize(
    "source", [np.zeros((4, 4), np.int64), np.full((4, 4), 2.0), np.zeros(4, np.uint8), 5]
)
def test_arrays_that_are_no_picture(source):
    with pytest.raises(DataError, match=r"expected|must hold"):
        read_picture(source, GREY)
