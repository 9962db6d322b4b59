"""Small integers in matrices, mostly zeros: the order a coder meets them in, and the contexts it guesses by.

A weight is coded as: is it zero? is it negative? how far from zero? Its row, its column, its neighbours and
the rows of the layer before tell most of the answer. Rows and columns that hold nothing but zeros are named
first and then skipped.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from kit.runtime.coding import slots, trust

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from kit.runtime.coding import Model

    Levels = NDArray[np.int32]

_UNARY = 14  # |level| is counted up to here; what goes beyond is an Exp-Golomb number


def code_levels(
    model: Model, levels: Levels | None, shape: tuple[int, ...], before: Levels | None = None
) -> Levels:
    """Code the levels of one tensor.

    Args:
        model: of an encoder, or of a decoder.
        levels: what to encode, of `shape`; None when decoding.
        shape: (rows, …); all other axes together are the columns. A vector is one row.
        before: the levels (rows, columns) of the layer before, whose rows feed these columns.

    Returns:
        The levels (rows, columns).
    """
    rows, columns = (1, shape[0]) if len(shape) == 1 else (shape[0], int(np.prod(shape[1:])))
    found = np.zeros((rows, columns), np.int32)
    given = found if levels is None else levels.reshape(rows, columns)
    stride = model.number(_stride(given, shape), "stride")
    feeding = _feeding(before, columns)
    places = _alive(model, (given != 0).any(0).tolist(), feeding)
    matrix = _Matrix(model, columns, stride, int(np.prod(shape[2:])), feeding)
    for row in _alive(model, (given != 0).any(1).tolist(), [0] * rows):
        found[row] = matrix.row(given[row].tolist(), places)
    return found


class _Matrix:
    """What the coder has learnt of one matrix."""

    def __init__(self, model: Model, columns: int, stride: int, window: int, feeding: Sequence[int]) -> None:
        self._model, self._columns, self._feeding = model, columns, feeding
        self._stride, self._window = min(stride, columns) or columns, window
        self._above, self._rows = [0] * columns, 0
        self._held = [0] * columns  # how many of each column's weights so far are not zero
        # Each context keeps three slots: for "not zero", "negative" and "more than 1".
        self._any, self._own, self._kernel = slots(3), slots(3), slots(3)
        self._column = [slots(3) for _ in range(columns)]
        self._place = slots(window)
        self._around, self._near, self._dense, self._fed = slots(32), slots(64), slots(256), slots(16)
        self._signs, self._sizes = slots(27), [slots(64), slots(256)]
        self._zero_trust, self._sign_trust, self._size_trust = trust(8), trust(6), trust(4)

    def row(self, given: list[int], places: Sequence[int]) -> list[int]:
        """Code one row of weights; those not in `places` are zero."""
        line, kept, kernel = [0] * self._columns, 0, -1
        self._own = slots(3)
        stride, window = self._stride, self._window
        for met, column in enumerate(places):
            if column // window != kernel:
                kernel, self._kernel = column // window, slots(3)
            left = line[column - 1] if column else 0
            second = line[column - 2] if column > 1 else 0
            up = line[column - stride] if column >= stride else 0
            across = line[column - stride + 1] if column >= stride > 1 else 0
            over = self._above[column]
            here = (left != 0) | (up != 0) << 1 | (over != 0) << 2
            held = self._held[column]
            contexts = (
                self._any[0],
                self._own[0],
                self._column[column][0],
                self._around[here | (second != 0) << 3 | (across != 0) << 4],
                self._near[_log(held) << 3 | here],
                self._dense[_density(held, self._rows) << 4 | _density(kept, met)],
                self._fed[self._feeding[column]],
                self._kernel[0],
            )
            if self._model.bit(int(given[column] != 0), self._zero_trust, contexts):
                line[column] = self._level(given[column], column, left, up, over)
                kept += 1
                self._held[column] += 1
        self._above, self._rows = line, self._rows + 1
        return line

    def _level(self, given: int, column: int, left: int, up: int, over: int) -> int:
        """Code a level that is not zero, beside the neighbours' levels."""
        contexts = (
            self._any[1],
            self._own[1],
            self._column[column][1],
            self._kernel[1],
            self._signs[_sign(left) * 9 + _sign(up) * 3 + _sign(over)],
            self._place[column % self._window],
        )
        negative = self._model.bit(int(given < 0), self._sign_trust, contexts)
        neighbours = min(3, abs(left)) << 2 | min(3, abs(up))
        size = 1
        while size <= _UNARY:
            first = size == 1
            by_size = self._sizes[0]
            likely = (
                by_size[size],
                self._sizes[1][size << 4 | neighbours],
                self._own[2] if first else by_size[16 + size],
                self._column[column][2] if first else by_size[32 + size],
            )
            if not self._model.bit(int(abs(given) > size), self._size_trust, likely):
                break
            size += 1
        if size > _UNARY:
            size += self._model.number(max(0, abs(given) - size), "level")
        return -size if negative else size


def _alive(model: Model, given: Sequence[bool], hints: Sequence[int]) -> list[int]:
    """Code which rows or columns hold anything, and return their places."""
    found = []
    near, hinted, trusted, last = slots(4), slots(16), trust(2), 3
    for place, flag in enumerate(given):
        bit = model.bit(int(flag), trusted, (near[last], hinted[hints[place]]))
        last = last << 1 & 2 | bit
        if bit:
            found.append(place)
    return found


def _feeding(before: Levels | None, columns: int) -> list[int]:
    """Return for each column how much the row of the layer before that feeds it holds, in few steps."""
    if before is None or not len(before) or columns % len(before):
        return [0] * columns
    held = np.repeat((before != 0).sum(1), columns // len(before))
    return [1 + _log(count) for count in held.tolist()]


def _stride(levels: Levels, shape: tuple[int, ...]) -> int:
    """Return the distance at which columns resemble each other most: the width of an image or a kernel."""
    if len(shape) > 2:
        return shape[-1]
    held = (levels != 0).sum(0).astype(float)
    held -= held.mean()
    lags = range(2, min(64, len(held) // 3))
    scores = [float(held[lag:] @ held[:-lag]) / (len(held) - lag) for lag in lags]
    return 2 + int(np.argmax(scores)) if scores and max(scores) > 0 else 1


def _log(count: int) -> int:
    """Sort a count into eight steps.

    >>> [_log(n) for n in (0, 1, 2, 3, 4, 8, 1000)]
    [0, 1, 2, 2, 3, 4, 7]
    """
    return min(7, count.bit_length())


def _density(count: int, of: int) -> int:
    """Sort a share into steps, finer for small ones; 0 before anything was seen.

    >>> [_density(n, 100) for n in (0, 1, 5, 20, 60, 100)]
    [3, 4, 6, 8, 10, 11]
    """
    share = (2 * count + 1) * 1024 // (2 * of + 2)
    return share.bit_length() + (share > 768) if of else 0


def _sign(level: int) -> int:
    return (level > 0) + 2 * (level < 0)
