"""Entropy coding: a binary arithmetic coder whose probabilities are mixed from several contexts.

Everything is an integer, so that a file decodes to the same bits on every machine. Encoding and decoding
run through the same lines: a function that writes `model.bit(bit, …)` reads with the same call, where the
bit that is given is ignored and the one in the stream is returned.

Sources: M. Mahoney, "Adaptive weighing of context models for lossless data compression", 2005 (the mixing,
and the table of the logistic function); D. Marpe et al., "Context-based adaptive binary arithmetic coding
in the H.264/AVC video compression standard", 2003 (one adaptive probability a context).
"""

from __future__ import annotations

from operator import mul
from typing import TYPE_CHECKING, Protocol

from kit.errors import CorruptFileError

if TYPE_CHECKING:
    from collections.abc import Sequence

    Slot = list[int]  # [probability of a 1 in 1/65536, how often it was seen]

# 4096 / (1 + e^-x) at x = -8, -7.5 … 8.
_KNOTS = [1, 2, 3, 6, 10, 16, 27, 45, 73, 120, 194, 310, 488, 747, 1101, 1546, 2047, 2549, 2994, 3348, 3607]
_KNOTS += [3785, 3901, 3975, 4022, 4050, 4068, 4079, 4085, 4089, 4092, 4093, 4094]


def _logistic(x: int) -> int:
    """Return 4096 / (1 + e^-(x / 256)) for x from -2047 to 2047, by interpolation."""
    part, knot = x & 127, (x >> 7) + 16
    return max(1, (_KNOTS[knot] * (128 - part) + _KNOTS[knot + 1] * part + 64) >> 7)


_SQUASH = [_logistic(max(-2047, x)) for x in range(-2048, 2048)]


def _inverse() -> list[int]:
    """Return for each probability in 1/4096 the least x that `_logistic` takes at least that far."""
    table, p = [0] * 4096, 0
    for x in range(-2047, 2048):
        value = _logistic(x)
        table[p : value + 1] = [x] * (value + 1 - p)
        p = max(p, value + 1)
    table[p:] = [2047] * (4096 - p)
    return table


_STRETCH = _inverse()
_LIMIT = 254  # a slot that was seen so often adapts no slower
_RATE = [65536 * 2 // (2 * n + 3) for n in range(_LIMIT + 1)]
_LEARNING = 5
_TRUST = 65536 // 4  # the first weight of every context in the mixture


class Coder(Protocol):
    """Writes or reads single bits of known probability."""

    def code(self, bit: int, probability: int) -> int:
        """Code a bit that is 1 with `probability` / 4096 (1 … 4095), and return it."""


class Encoder:
    """Turns bits into bytes.

    >>> encoder = Encoder()
    >>> _ = [encoder.code(bit, 1024) for bit in (0, 0, 1, 0)]
    >>> decoder = Decoder(encoder.finish())
    >>> [decoder.code(0, 1024) for _ in range(4)]
    [0, 0, 1, 0]
    """

    def __init__(self) -> None:
        self._low, self._high = 0, 0xFFFFFFFF
        self._bytes = bytearray()

    def code(self, bit: int, probability: int) -> int:
        """Narrow the interval to the part that stands for `bit`."""
        middle = self._low + ((self._high - self._low) >> 12) * probability
        if bit:
            self._high = middle
        else:
            self._low = middle + 1
        while not (self._low ^ self._high) >> 24:
            self._bytes.append(self._high >> 24)
            self._low = self._low << 8 & 0xFFFFFFFF
            self._high = self._high << 8 & 0xFFFFFFFF | 0xFF
        return bit

    def finish(self) -> bytes:
        """Return the stream; the decoder takes what is missing at its end for zeros."""
        for kept in (0, 1, 2, 3, 4):
            mask = (1 << (32 - 8 * kept)) - 1
            value = (self._low + mask) & ~mask  # the shortest number inside the interval
            if value <= self._high:
                break
        return bytes(self._bytes + value.to_bytes(4, "big")[:kept])


class Decoder:
    """Turns the bytes of an `Encoder` into its bits again."""

    def __init__(self, stream: bytes) -> None:
        self._low, self._high = 0, 0xFFFFFFFF
        self._stream, self._position = stream, 4
        self._value = int.from_bytes(stream[:4].ljust(4, b"\0"), "big")

    def code(self, _bit: int, probability: int) -> int:
        """Return the next bit.

        Raises:
            CorruptFileError: when the stream ended long ago.
        """
        middle = self._low + ((self._high - self._low) >> 12) * probability
        bit = int(self._value <= middle)
        if bit:
            self._high = middle
        else:
            self._low = middle + 1
        while not (self._low ^ self._high) >> 24:
            if self._position >= len(self._stream) + 4:
                raise CorruptFileError("the coded weights end too soon; the file was cut short or changed")
            following = self._stream[self._position] if self._position < len(self._stream) else 0
            self._position += 1
            self._low = self._low << 8 & 0xFFFFFFFF
            self._high = self._high << 8 & 0xFFFFFFFF | 0xFF
            self._value = self._value << 8 & 0xFFFFFFFF | following
        return bit

    @property
    def rest(self) -> int:
        """How many bytes were not needed; not one of a sound stream."""
        return max(0, len(self._stream) - self._position)


class Model:
    """Predicts each bit from its contexts, codes it, and learns from it.

    Args:
        coder: an `Encoder` or a `Decoder`.
    """

    def __init__(self, coder: Coder) -> None:
        self._code = coder.code
        self._numbers: dict[str, list[list[Slot]]] = {}

    def bit(self, bit: int, weights: list[int], slots: Sequence[Slot]) -> int:
        """Code one bit.

        Args:
            bit: 0 or 1; ignored by a decoder.
            weights: how far each context is trusted, from `trust`; changed in place.
            slots: what each context has seen, from `slot`; changed in place.

        Returns:
            The bit.
        """
        inputs = [_STRETCH[slot[0] >> 4] for slot in slots]
        x = sum(map(mul, inputs, weights)) >> 16
        p = _SQUASH[2048 + (-2047 if x < -2047 else min(x, 2047))]
        bit = self._code(bit, p)
        error = ((bit << 12) - p) * _LEARNING
        target = 65535 if bit else 0
        for k, (slot, given) in enumerate(zip(slots, inputs, strict=True)):
            weights[k] += (given * error + 8192) >> 14
            seen = slot[1]
            slot[0] += ((target - slot[0]) * _RATE[seen]) >> 16
            if seen < _LIMIT:
                slot[1] = seen + 1
        return bit

    def even(self, bit: int) -> int:
        """Code a bit that nothing is known about."""
        return self._code(bit, 2048)

    def number(self, value: int, kind: str) -> int:
        """Code a whole number from 0 in few bits if numbers of its kind resemble each other.

        Raises:
            CorruptFileError: when a decoder meets a number of more than 32 bits.
        """
        lengths, digits = self._numbers.setdefault(kind, [slots(33), slots(33)])
        trusted = trust(1)
        length = 0
        while self.bit(int((value + 1) >> (length + 1) > 0), trusted, (lengths[length],)):
            length += 1
            if length > 32:
                raise CorruptFileError("a number is too large; the file was changed")
        result = 1
        for place in reversed(range(length)):
            result = result << 1 | self.bit((value + 1) >> place & 1, trusted, (digits[length],))
        return result - 1


def trust(contexts: int) -> list[int]:
    """Return the weights a mixture of so many contexts starts with."""
    return [65536] if contexts == 1 else [_TRUST] * contexts


def slots(count: int) -> list[Slot]:
    """Return slots that have seen nothing: 0 and 1 are equally likely."""
    return [[32768, 0] for _ in range(count)]
