from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import kit
from kit.errors import ArgumentError, DataError, ModelError
from kit.media import Columns, Sound, Text
from kit.variant import Preprocess, Signature, Variant


@pytest.fixture(scope="module")
def pipe(trained, tmp_path_factory):
    folder = kit.save(trained, tmp_path_factory.mktemp("models") / "convnet")
    with kit.pipeline(folder) as made:
        yield made


def encoded(image, kind="PNG", **settings):
    content = io.BytesIO()
    image.save(content, kind, **settings)
    return content.getvalue()


def shares(answer):
    return np.array([share for _, share in sorted(answer.ranked)])


def test_a_raw_sample_is_answered_as_the_variant_answers_it(pipe, trained, fashion):
    logits = trained(fashion.test.inputs[:40])
    answers = pipe(list(fashion.test.raw[:40]))
    assert [a.label for a in answers] == [fashion.signature.classes[k] for k in logits.argmax(1)]
    assert sum(answers[0].to_dict()["probabilities"].values()) == pytest.approx(1)
    assert str(answers[0]).startswith(answers[0].label)


def test_many_are_answered_as_each_is_alone(pipe, fashion):
    raws = list(fashion.test.raw[:70].numpy())
    for together, raw in zip(pipe(raws), raws, strict=True):
        assert np.allclose(shares(together), shares(pipe(raw)), atol=1e-5)


def test_a_model_that_looks_at_its_batch_gets_one_at_a_time(trained, fashion):
    dynamic = kit.pipeline(kit.quantize(trained, fashion, scheme="dynamic"))
    raws = list(fashion.test.raw[:10])
    assert [a.ranked for a in dynamic(raws)] == [dynamic(raw).ranked for raw in raws]


def test_a_picture_in_any_wrapping_is_the_same_picture(pipe, fashion, tmp_path):
    pixels = fashion.test.raw[0, 0].numpy()
    grey = Image.fromarray(pixels)
    alpha = Image.fromarray(np.dstack([pixels] * 3 + [np.full_like(pixels, 255)]))
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: what is stored lies on its side
    path = tmp_path / "garment.png"
    grey.save(path)
    same = [
        path,
        str(path),
        path.read_bytes(),
        grey,
        pixels,
        fashion.test.raw[0],
        np.dstack([pixels] * 3),
        pixels.astype(np.uint16) * 257,
        (pixels / 255).astype(np.float32),
        encoded(grey.convert("RGB")),
        encoded(alpha),
        encoded(Image.fromarray(pixels.astype(np.uint16) * 257)),
        encoded(grey.rotate(90), exif=exif),
        encoded(grey, "GIF", save_all=True, append_images=[grey.rotate(90), grey.rotate(180)]),
        encoded(grey.convert("RGB").convert("CMYK"), "TIFF"),
    ]
    expected = shares(pipe(fashion.test.raw[0]))
    for number, source in enumerate(same):
        assert np.allclose(shares(pipe(source)), expected, atol=0.03), f"source {number}"


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (b"", "0 bytes"),
        (b"no picture", "no picture that can be read"),
        ("/nowhere.png", "is no file"),
        (np.full((28, 28), np.nan, np.float32), "from 0 to 1"),
        (np.zeros((5, 5, 5), np.uint8), r"shape \(5, 5, 5\)"),
        (np.zeros((0, 4), np.uint8), "shape"),
        (3.5, "expected a picture"),
        (None, "expected a picture"),
    ],
)
def test_what_is_no_picture_says_so(pipe, source, words):
    with pytest.raises(DataError, match=words):
        pipe(source)


def test_a_hundred_megapixels_are_refused_before_they_are_unpacked(pipe):
    bomb = encoded(Image.new("1", (10_000, 10_000)))
    with pytest.raises(DataError, match="too large"):
        pipe(bomb)


def test_of_many_sources_the_bad_one_is_named(pipe, fashion):
    with pytest.raises(DataError, match="source 2 of 3: the picture is empty"):
        pipe([fashion.test.raw[0], b"", fashion.test.raw[1]])


@pytest.fixture(scope="module")
def spotter():
    data = kit.data.spoken_digits().subset(800, 60, 100)
    torch.manual_seed(0)
    how = {"epochs": 10, "lr": 1e-2, "batch_size": 32, "precision": "fp32", "layout": "contiguous", "seed": 0}
    return data, kit.train(kit.models.spotter(width=16), data, **how)


def test_a_sound_is_heard_with_what_its_card_says(spotter, tmp_path):
    data, variant = spotter
    clips = [c for c in kit.data.digit_clips() if c.split == "train"][:60]
    pipe = kit.pipeline(kit.save(variant, tmp_path / "spotter"))
    assert isinstance(pipe.signature.media, Sound)
    answers = pipe([(clip.samples, 8000) for clip in clips])
    right = np.mean([a.label == kit.data.digits.SPOKEN[c.digit] for a, c in zip(answers, clips, strict=True)])
    assert right > 0.5  # one in ten by chance
    assert kit.evaluate(variant, data).score.value > 0.4


def test_a_spotter_is_pruned_and_quantized_and_still_hears(spotter):
    data, variant = spotter
    slim = kit.prune(variant, data, ratio=0.3, finetune=0)
    int8 = kit.quantize(variant, data)
    assert kit.agreement(variant, int8, data).same.value > 0.8
    clip = kit.data.digit_clips()[0]
    for made in (slim, int8):
        assert kit.pipeline(made)((clip.samples, 8000)).label in data.signature.classes


def test_a_text_is_named():
    text = Text("\0abcdefghijklmnopqrstuvwxyz ", other=True)
    signature = Signature("classification", (40,), ("vowels", "consonants"), 2, media=text)
    random = np.random.default_rng(0)
    lines = ["".join(random.choice(list(kind), 30)) for kind in ["aeiou"] * 60 + ["bcdfgh"] * 60]
    raw = torch.tensor([text.encode(line) + [0] * 10 for line in lines])
    made = kit.data.from_arrays(raw, np.repeat([0, 1], 60), classes=signature.classes)
    data = kit.data.Dataset("lines", *made.splits, signature)
    torch.manual_seed(0)
    net = kit.models.charnet(classes=2, tokens=28, width=16)
    pipe = kit.pipeline(kit.train(net, data, epochs=6, lr=1e-2, batch_size=16, precision="fp32"))
    assert [a.label for a in pipe(["oooieua", "bbchdg", "aa😀aeuia" * 100])] == [
        "vowels",
        "consonants",
        "vowels",
    ]
    with pytest.raises(DataError, match="empty"):
        pipe("")
    with pytest.raises(DataError, match="half a character"):
        pipe("a\udc00")


def test_a_row_by_name_or_in_order(tmp_path):
    net = nn.Sequential(nn.Linear(2, 1))
    net[0].weight.data, net[0].bias.data = torch.tensor([[2.0, -1.0]]), torch.tensor([0.5])
    signature = Signature("regression", (2,), (), 1, Preprocess(), Columns(("age", "height")))
    kit.save(Variant(net, "line", signature), tmp_path / "line")
    pipe = kit.pipeline(Variant(net, "line", kit.load(tmp_path / "line", module=net).signature))
    assert pipe({"height": 1, "age": 3}).values == pytest.approx((5.5,))
    assert pipe((3, 1.0)).values == pytest.approx((5.5,))
    assert [v.values[0] for v in pipe([(3, 1), {"age": 0, "height": 0}])] == pytest.approx([5.5, 0.5])
    for bad, words in (
        ({"age": 1}, "lacks height"),
        ((1, 2, 3), "expected 2 numbers, got 3"),
        (("a", 1), "row of numbers"),
        ((1, np.nan), "NaN"),
    ):
        with pytest.raises(DataError, match=words):
            pipe(bad)


def test_a_bare_module_does_not_say_what_it_takes():
    with pytest.raises(ArgumentError, match="bare module"):
        kit.pipeline(nn.Linear(2, 2))


def test_a_model_that_gives_nan_is_no_answer():
    net = nn.Linear(2, 2)
    net.weight.data.fill_(torch.nan)
    with pytest.raises(ModelError, match="NaN"):
        kit.pipeline(Variant(net, "broken", Signature("classification", (2,), ("a", "b"), 2)))((1, 2))
