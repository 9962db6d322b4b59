"""The coder: what goes in comes out, in hardly more bits than the content has."""

from __future__ import annotations

import hashlib
import random
from math import log2

import numpy as np
import pytest

from kit.errors import CorruptFileError
from kit.runtime.coding import Decoder, Encoder, Model, slots, trust
from kit.runtime.levels import code_levels


@pytest.mark.parametrize("share", [0.001, 0.02, 0.3, 0.5, 0.97])
def test_bits_cost_their_entropy(share):
    generator = random.Random(1)
    bits = [int(generator.random() < share) for _ in range(20_000)]
    encoder = Encoder()
    model, weights, context = Model(encoder), trust(1), slots(1)
    for bit in bits:
        model.bit(bit, weights, context)
    stream = encoder.finish()
    found = sum(bits) / len(bits)
    entropy = -(found * log2(found) + (1 - found) * log2(1 - found)) * len(bits) / 8
    assert len(stream) < entropy * 1.06 + 10
    model, weights, context = Model(Decoder(stream)), trust(1), slots(1)
    assert [model.bit(0, weights, context) for _ in bits] == bits


def test_numbers_of_any_size():
    numbers = [0, 1, 2, 3, 255, 256, 65535, 2**31, 5, 5, 5]
    encoder = Encoder()
    model = Model(encoder)
    for number in numbers:
        model.number(number, "n")
    model = Model(Decoder(encoder.finish()))
    assert [model.number(0, "n") for _ in numbers] == numbers


def test_an_empty_stream_cannot_be_read_for_ever():
    model = Model(Decoder(b""))
    with pytest.raises(CorruptFileError, match="too soon"):
        sum(model.even(0) for _ in range(1000))


@pytest.mark.parametrize("shape", [(1,), (50,), (1, 1), (40, 60), (12, 5, 3, 3), (6, 1, 5, 5), (3, 2, 7)])
@pytest.mark.parametrize("top", [0, 1, 3, 200, 30_000])
def test_levels_come_back(shape, top):
    generator = np.random.default_rng(0)
    levels = (generator.integers(-top, top + 1, shape) * (generator.random(shape) < 0.4)).astype(np.int32)
    before = generator.integers(-1, 2, (shape[1], 4)).astype(np.int32) if len(shape) > 1 else None
    encoder = Encoder()
    code_levels(Model(encoder), levels, shape, before)
    decoder = Decoder(encoder.finish())
    found = code_levels(Model(decoder), None, shape, before)
    assert np.array_equal(found.reshape(shape), levels)
    assert decoder.rest == 0


def test_the_stream_is_the_same_everywhere():
    """A change of the tables, the contexts or their order would make every packed file unreadable."""
    generator = random.Random(0)
    levels = [generator.choice((0, 0, 0, 0, 1, -1, 2, -5)) for _ in range(30 * 40)]
    encoder = Encoder()
    code_levels(Model(encoder), np.array(levels, np.int32).reshape(30, 40), (30, 40))
    assert hashlib.sha256(encoder.finish()).hexdigest()[:16] == "5241130ca4659d6a"
