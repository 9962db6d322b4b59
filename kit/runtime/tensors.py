"""Tensors in a packed file: multiples of a step, places in a codebook, or bytes; whichever they are."""

from __future__ import annotations

import lzma
from typing import TYPE_CHECKING

import numpy as np
import torch

from kit.errors import CorruptFileError
from kit.runtime.levels import code_levels

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from kit.runtime.coding import Model
    from kit.runtime.levels import Levels

RAW, GRID, CODEBOOK = range(3)
_TOP = 2**15  # the largest |level|
_CODED = 2**20  # numbers that are coded one by one, some microseconds each; larger tensors go through lzma
_FILTERS = [{"id": lzma.FILTER_LZMA2, "preset": 9 | lzma.PRESET_EXTREME, "lc": 0, "lp": 0, "pb": 0}]


class Writer:
    """Writes tensors, one after the other.

    Args:
        model: of an encoder.
    """

    def __init__(self, model: Model) -> None:
        self._model, self._raw = model, bytearray()
        self._before: Levels | None = None

    def tensor(self, tensor: torch.Tensor, usual: torch.Size | None) -> None:
        """Write a tensor; `usual` is the shape that a reader expects if nothing was pruned."""
        number = self._model.number
        pruned = tensor.shape != usual
        number(int(pruned), "pruned")
        if pruned:
            for side in tensor.shape:
                number(side, "side")
        values = _numbers(tensor)
        step = None if values is None else step_of(values)
        book = None if values is None or step is not None else codebook_of(values)
        if step is not None and values is not None:
            number(GRID, "kind")
            _code_float(self._model, step)
            self._levels(np.rint(values / step).astype(np.int32), tensor.shape)
        elif book is not None and values is not None:
            number(CODEBOOK, "kind")
            number(len(book), "book")
            for value in book:
                _code_float(self._model, float(value))
            levels = np.searchsorted(book, values) - _middle(book)
            self._levels(levels.astype(np.int32), tensor.shape)
        else:
            number(RAW, "kind")
            self._raw += _planes(tensor)

    def finish(self) -> bytes:
        """Return what was kept byte by byte, compressed."""
        return lzma.compress(bytes(self._raw), lzma.FORMAT_RAW, filters=_FILTERS) if self._raw else b""

    def _levels(self, levels: Levels, shape: torch.Size) -> None:
        if levels.size > _CODED:
            self._raw += levels.astype("<i2").reshape(-1).view(np.uint8).reshape(-1, 2).T.tobytes()
            return
        found = code_levels(self._model, levels, tuple(shape) or (1,), self._before)
        self._before = found if len(shape) > 1 else self._before


class Reader:
    """Reads what a `Writer` wrote.

    Args:
        model: of a decoder.
        raw: what `Writer.finish` returned.
    """

    def __init__(self, model: Model, raw: bytes) -> None:
        self._model, self._raw, self._some = model, raw, bool(raw)
        self._lzma = lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=_FILTERS)
        self._before: Levels | None = None

    def tensor(self, like: torch.Tensor) -> torch.Tensor:
        """Read the next tensor, of the dtype of `like` and no larger than it.

        Raises:
            CorruptFileError: when there is none.
        """
        number = self._model.number
        shape = tuple(like.shape)
        if number(0, "pruned"):
            shape = tuple(number(0, "side") for _ in shape)
            if any(side > most or not side for side, most in zip(shape, like.shape, strict=True)):
                raise CorruptFileError(f"a tensor of shape {shape} is larger than {tuple(like.shape)}")
        kind, size = number(0, "kind"), int(np.prod(shape))
        if kind == RAW:
            return _joined(self._take(size * like.element_size()), shape, like.dtype)
        if kind == GRID:
            step = _code_float(self._model, 0.0)
            values = self._levels(shape, size) * step
        elif kind == CODEBOOK:
            book = np.array([_code_float(self._model, 0.0) for _ in range(min(257, number(0, "book")))])
            places = self._levels(shape, size) + _middle(book)
            if not len(book) or places.min() < 0 or places.max() >= len(book):
                raise CorruptFileError("a weight lies outside its codebook")
            values = book[places]
        else:
            raise CorruptFileError(f"a tensor is of unknown kind {kind}")
        return torch.from_numpy(np.asarray(values)).to(like.dtype).reshape(shape)

    def finished(self) -> bool:
        """Tell whether all that was kept byte by byte has been taken."""
        if not self._some:
            return True
        more = self._decompress(1)
        return self._lzma.eof and not more and not self._lzma.unused_data

    def _levels(self, shape: tuple[int, ...], size: int) -> NDArray[np.int64]:
        if size > _CODED:
            planes = np.frombuffer(self._take(2 * size), np.uint8).reshape(2, -1)
            return planes.T.copy().view("<i2").astype(np.int64).reshape(shape)
        found = code_levels(self._model, None, shape or (1,), self._before)
        self._before = found if len(shape) > 1 else self._before
        return found.astype(np.int64).reshape(shape)

    def _take(self, count: int) -> bytes:
        """Decompress so many bytes and no more."""
        taken = bytearray()
        while len(taken) < count:
            part = self._decompress(count - len(taken))
            if not part:
                raise CorruptFileError("the weights that are kept byte by byte end too soon")
            taken += part
        return bytes(taken)

    def _decompress(self, most: int) -> bytes:
        data, self._raw = self._raw, b""
        try:
            return b"" if self._lzma.eof else self._lzma.decompress(data, max_length=most)
        except lzma.LZMAError as error:
            raise CorruptFileError(f"the weights that are kept byte by byte are damaged: {error}") from None


def step_of(values: NDArray[np.float64]) -> float | None:
    """Return the largest step that all values are whole multiples of, if there is one worth the name.

    >>> step_of(np.array([0.0, -0.75, 0.5]))
    0.25
    """
    some = np.unique(np.abs(values[values != 0]))
    if not len(some):
        return 1.0
    fraction, exponent = np.frexp(some)
    low = int(exponent.min())
    if int(exponent.max()) - low > 15:
        return None
    # A float32 is a whole number of 24 bits times a power of two; the greatest common divisor is exact.
    whole = (fraction * 2.0**24).astype(np.int64) << (exponent.astype(np.int64) - low)
    common = int(np.gcd.reduce(whole))
    if int(whole.max()) // common > min(_TOP - 1, 16 * len(some) + 64):
        return None
    return common * 2.0 ** (low - 24)


def codebook_of(values: NDArray[np.float64]) -> NDArray[np.float64] | None:
    """Return the values in order if they are few: at most 256, and used twice each on average."""
    book = np.unique(values)
    return book if len(book) <= min(256, values.size // 2) else None


def _middle(book: NDArray[np.float64]) -> int:
    """Return the place that is called 0: that of the value nearest to zero."""
    return int(np.argmin(np.abs(book))) if len(book) else 0


def _numbers(tensor: torch.Tensor) -> NDArray[np.float64] | None:
    """Return a tensor's numbers, or None if they cannot be put into float64 and back."""
    if not tensor.numel() or tensor.is_complex() or tensor.dtype in {torch.float64, torch.bool}:
        return None
    values = tensor.double()
    whole = tensor.is_floating_point() or bool((tensor.abs() < 2**24).all())
    return values.numpy() if whole and bool(torch.isfinite(values).all()) else None


def _code_float(model: Model, value: float) -> float:
    """Code a float: 16 bits if bfloat16 or float16 holds it, else 32."""
    single = np.float32(value)
    bits = int(single.view(np.uint32))
    half = np.float16(value) if abs(value) < 60000 else np.float16(0)
    way = 0 if not bits & 0xFFFF else 1 if float(half) == value else 2
    way = model.number(way, "float")
    if way == 0:
        return float(np.uint32(_code_bits(model, bits >> 16, 16) << 16).view(np.float32))
    if way == 1:
        return float(np.uint16(_code_bits(model, int(half.view(np.uint16)), 16)).view(np.float16))
    if way == 2:
        return float(np.uint32(_code_bits(model, bits, 32)).view(np.float32))
    raise CorruptFileError("a number is of unknown kind")


def _code_bits(model: Model, value: int, count: int) -> int:
    result = 0
    for place in reversed(range(count)):
        result = result << 1 | model.even(value >> place & 1)
    return result


def _planes(tensor: torch.Tensor) -> bytes:
    """Return a tensor's bytes, the first of each number first: exponents resemble one another."""
    size = tensor.element_size()
    flat = tensor.contiguous().reshape(-1).view(torch.uint8).numpy()
    return flat.reshape(-1, size).T.tobytes()


def _joined(planes: bytes, shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
    size = torch.empty((), dtype=dtype).element_size()
    flat = np.frombuffer(planes, np.uint8).reshape(size, -1).T.copy()
    return torch.from_numpy(flat).reshape(-1).view(dtype).reshape(shape)
