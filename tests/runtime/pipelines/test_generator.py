from __future__ import annotations

import numpy as np
import pytest
import torch

import kit
from kit.errors import ArgumentError, DataError, ModelError
from kit.media import Text
from kit.runtime.pipelines.sampling import Sampling
from kit.variant import Signature, Variant

ALPHABET = "\nabcdefgh "
TEXT = Signature("generation", (16,), tuple(ALPHABET), 10, media=Text(ALPHABET))


@pytest.fixture(scope="module")
def writer():
    torch.manual_seed(0)
    net = kit.models.gpt(tokens=10, context=16, width=32, layers=2, heads=2)
    torch.nn.init.normal_(net.head.weight, std=1.0)  # opinions of its own
    return Variant(net.eval(), "writer", TEXT)


@pytest.fixture(scope="module")
def pipe(writer):
    return kit.pipeline(writer)


def test_with_and_without_a_cache_the_text_is_the_same_past_the_context(writer, pipe):
    plain = kit.pipeline(writer, cache=False)
    assert (pipe.cached, plain.cached) == (True, False)
    assert pipe("abc", length=60).text == plain("abc", length=60).text


def test_a_cache_is_faster_the_longer_the_context():
    torch.manual_seed(0)
    wide = Signature("generation", (256,), tuple(ALPHABET), 10, media=Text(ALPHABET))
    variant = Variant(kit.models.gpt(tokens=10, context=256, width=64), "wide", wide)
    calls = []
    pipe = kit.pipeline(variant)
    step = pipe._oracle._module.step
    pipe._oracle._module.step = lambda tokens, cache: (calls.append(tokens.shape[1]), step(tokens, cache))[1]
    pipe("abc" * 60, length=300)
    assert sum(calls) < 180 + 300 + 4 * 128  # tokens computed; without a cache 256 each time: 76,800
    assert len(calls) == 300


def test_a_stream_is_the_text_and_a_seed_repeats_it(pipe):
    whole = pipe("abc", length=40, seed=3)
    assert "".join(pipe.stream("abc", length=40, seed=3)) == whole.text
    assert pipe("abc", length=40, seed=3).text == whole.text
    assert pipe("abc", length=40, seed=4).text != whole.text
    assert (whole.tokens, len(whole.text), whole.ended) == (40, 40, "length")
    assert str(whole) == "abc" + whole.text


def test_many_prompts_give_what_each_gives_alone(pipe):
    prompts = ["abc", "h", "d e f g h a b c d e f g h"]
    assert [w.text for w in pipe(prompts, length=20)] == [pipe(p, length=20).text for p in prompts]


def test_a_stop_text_ends_the_answer_and_is_left_out_of_the_stream_too(pipe):
    whole = pipe("abc", length=60).text
    stop = whole[20:23]
    at = whole.find(stop)
    found = pipe("abc", length=60, stop=[stop])
    assert (found.text, found.ended) == (whole[:at], "stop")
    assert "".join(pipe.stream("abc", length=60, stop=stop)) == whole[:at]


def test_no_temperature_takes_the_likeliest(pipe, writer):
    first = pipe("abc", length=1, temperature=0).text
    window = np.zeros((1, 16), np.float32)
    window[0, :3] = TEXT.media.encode("abc")
    assert first == ALPHABET[int(writer(window)[0, :, 2].argmax())]
    assert pipe("abc", length=30, temperature=0, seed=1).text == pipe("abc", length=30, top_k=1, seed=2).text


def test_sampling_draws_as_it_says():
    logits = np.log(np.array([0.5, 0.3, 0.15, 0.05], np.float32))
    assert np.allclose(Sampling(1.0).probabilities(logits), [0.5, 0.3, 0.15, 0.05])
    assert np.allclose(Sampling(1.0, top_k=2).probabilities(logits), [0.625, 0.375, 0, 0])
    assert np.allclose(Sampling(1.0, top_p=0.7).probabilities(logits), [0.625, 0.375, 0, 0])
    assert np.allclose(Sampling(1.0, top_p=0.01).probabilities(logits), [1, 0, 0, 0])
    cold = Sampling(0.5).probabilities(logits)
    assert cold[0] / cold[1] == pytest.approx((0.5 / 0.3) ** 2, rel=1e-5)
    random = np.random.default_rng(0)
    drawn = np.bincount([Sampling(1.0).draw(logits, random) for _ in range(4000)], minlength=4) / 4000
    assert np.abs(drawn - [0.5, 0.3, 0.15, 0.05]).max() < 0.03


def test_a_file_writes_what_its_module_writes(writer, pipe, tmp_path):
    inputs = torch.randint(0, 10, (40, 17), generator=torch.Generator().manual_seed(0))
    text = kit.data.Dataset(
        "letters",
        *(
            kit.data.Split(name, inputs[:, :-1], inputs[:, 1:], TEXT.preprocess)
            for name in ("train", "valid", "test")
        ),
        TEXT,
    )
    file = kit.export(writer, data=text)
    folder = kit.save(file, tmp_path / "writer")
    assert kit.pipeline(folder)("abc", length=40).text == pipe("abc", length=40).text


@pytest.mark.parametrize(
    ("prompt", "words"),
    [
        ("", "the text is empty"),
        ("ab😀", r"does not know the character '😀' \(U\+1F600\) at place 3"),
        ("a\ud800", r"half a character \(U\+D800"),
        ("a\x07", r"U\+0007"),
        (7, "expected a text"),
        (b"abc", "expected a text, got bytes"),
    ],
)
def test_prompts_that_are_none(pipe, prompt, words):
    with pytest.raises(DataError, match=words):
        pipe(prompt)
    with pytest.raises(DataError, match=words):
        pipe.stream(prompt)


def test_a_megabyte_of_prompt_is_read_by_its_end(pipe):
    long = "abcdefgh" * 131_072
    assert pipe(long, length=3).tokens == 3


@pytest.mark.parametrize(
    "settings",
    [
        {"length": 0},
        {"temperature": -1},
        {"top_k": 0},
        {"top_p": 0},
        {"top_p": 1.1},
        {"stop": ""},
        {"stop": ["a", ""]},
    ],
)
def test_settings_out_of_range(pipe, settings):
    with pytest.raises(ArgumentError, match=str(next(iter(settings)))):
        pipe("abc", **settings)


def test_a_model_without_an_alphabet_cannot_write(writer):
    bare = Variant(writer.model, "bare", Signature("generation", (16,), tuple(ALPHABET), 10))
    with pytest.raises(ModelError, match=r"media=Text\(alphabet\)"):
        kit.pipeline(bare)


class Bytes:
    """A stand-in for a tokenizer whose characters are cut into bytes."""

    end = 0

    def encode(self, text):
        return list(text.encode())

    def decode(self, tokens):
        return bytes(tokens).decode(errors="replace")


def test_half_a_character_is_never_streamed_and_an_end_token_ends(writer):
    said = [*"é😀!".encode(), 0, *b"more"]
    pipe = kit.pipeline(writer)
    pipe.media, pipe._oracle = Bytes(), Says(said)
    assert list(pipe.stream("a", length=20, temperature=0)) == ["é", "😀", "!"]
    pipe._oracle = Says(said)
    found = pipe("a", length=20, temperature=0)
    assert (found.text, found.ended, found.tokens) == ("é😀!", "stop", 8)


class Says:
    """An oracle that is sure of what comes next."""

    def __init__(self, tokens):
        self.tokens = iter(tokens)

    def next(self, _tokens):
        logits = np.zeros(256, np.float32)
        logits[next(self.tokens)] = 1
        return logits
