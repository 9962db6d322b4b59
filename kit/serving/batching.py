"""Batching: what has gathered while the last batch ran is computed together; nothing waits for company.

A window to wait in would cost a single client all of its length. `tests/benchmarks/serving.py` measures it.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from kit.serving.refusal import Refusal

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from kit.serving.servable import Servable

    Tensors = Mapping[str, NDArray[Any]]

_HUNG = 4  # times what a request may take: longer than that no batch computes
_SWEEP = 0.25  # seconds between two looks for requests whose time is up
_log = logging.getLogger("kit.serving")


@dataclass(slots=True)
class _Waiting:
    inputs: Tensors
    rows: int
    sizes: tuple[tuple[int, ...], ...]  # of the inputs without their rows: only equals are computed together
    answer: asyncio.Future[Tensors]
    deadline: float


@dataclass(slots=True, eq=False)
class _Running:
    batch: list[_Waiting]
    began: float


class Batcher:
    """One model's queue, and the lanes that work it off.

    Args:
        servable: the model.
        waiting: requests that may wait; one more is refused with 503.
        seconds: how long a request may take from here to its answer; then it gets 504.
        observe: is told the rows of each batch.
    """

    def __init__(
        self, servable: Servable, *, waiting: int, seconds: float, observe: Callable[[int], object]
    ) -> None:
        self.servable = servable
        self._waiting, self._seconds, self._observe = waiting, seconds, observe
        self._queue: deque[_Waiting] = deque()
        self._running: list[_Running] = []
        self._scheduled = self._closed = False
        self._spent = 0.0  # seconds of the last batch, for Retry-After
        self._idle = asyncio.Event()
        self._sweeper: asyncio.TimerHandle | None = None
        self._threads = ThreadPoolExecutor(servable.lanes, f"model {servable.name}")

    @property
    def depth(self) -> int:
        """How many requests wait or are being computed."""
        return len(self._queue) + sum(len(running.batch) for running in self._running)

    def submit(self, inputs: Tensors, rows: int) -> asyncio.Future[Tensors]:
        """Queue one request; cancel the future when nobody wants its answer any more.

        Raises:
            Refusal: 503 when the queue is full or the model is being unloaded.
        """
        if self._closed:
            raise Refusal(503, "this version is being unloaded; ask again", {"Retry-After": "1"})
        if len(self._queue) >= self._waiting:
            seconds = max(1, round(self._spent * len(self._queue) / self.servable.batch))
            raise Refusal(
                503, f"{len(self._queue)} requests wait already; ask again", {"Retry-After": str(seconds)}
            )
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Tensors] = loop.create_future()
        sizes = tuple(array.shape[1:] for array in inputs.values())
        self._queue.append(_Waiting(inputs, rows, sizes, answer, loop.time() + self._seconds))
        self._wake()
        if self._sweeper is None:
            self._sweeper = loop.call_later(_SWEEP, self._sweep)
        return answer

    async def close(self) -> None:
        """Take no more requests, and return when those that wait have been answered."""
        self._closed = True
        while self.depth:
            self._idle.clear()
            await self._idle.wait()
        self._threads.shutdown(wait=False)

    def _wake(self) -> None:
        """See to it that a free lane looks into the queue after all that arrives in this turn of the loop."""
        if not self._scheduled and len(self._running) < self.servable.lanes:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._work)

    def _work(self) -> None:
        """Compute one batch: here if the model is quick, else in a thread."""
        self._scheduled = False
        batch = self._next()
        if batch and self.servable.short and sum(one.rows for one in batch) <= self.servable.batch:
            self._deliver(batch, self._compute(batch))
        elif batch:
            loop = asyncio.get_running_loop()
            running = _Running(batch, loop.time())
            self._running.append(running)
            computed = loop.run_in_executor(self._threads, self._compute, batch)
            computed.add_done_callback(lambda done: self._done(running, done))
        if self._queue:
            self._wake()
        elif not self._running:
            self._idle.set()

    def _done(self, running: _Running, done: asyncio.Future[list[Tensors | Exception]]) -> None:
        self._running.remove(running)
        self._deliver(running.batch, done.result())
        self._work()

    def _next(self) -> list[_Waiting]:
        """Take from the head of the queue what fits together; skip what nobody waits for."""
        batch: list[_Waiting] = []
        rows = 0
        while self._queue:
            one = self._queue[0]
            if one.answer.done():
                self._queue.popleft()
                continue
            if batch and (rows + one.rows > self.servable.batch or one.sizes != batch[0].sizes):
                break
            batch.append(self._queue.popleft())
            rows += one.rows
        return batch

    def _compute(self, batch: list[_Waiting]) -> list[Tensors | Exception]:
        """Return an answer or an error for each; who cannot be computed does not spoil the others."""
        begin = time.perf_counter()
        try:
            return self._together(batch)
        except Exception as error:  # noqa: BLE001 -- a model may raise anything; it is told in _deliver
            return [error] if len(batch) == 1 else [self._compute([one])[0] for one in batch]
        finally:
            self._spent = time.perf_counter() - begin

    def _together(self, batch: list[_Waiting]) -> list[Tensors | Exception]:
        if len(batch) == 1:
            return [self.servable.run(batch[0].inputs)]
        joined = {name: np.concatenate([one.inputs[name] for one in batch]) for name in batch[0].inputs}
        outputs = self.servable.run(joined)
        total = sum(one.rows for one in batch)
        if any(len(array) != total for array in outputs.values()):
            raise RuntimeError(f"{total} rows in, {[len(array) for array in outputs.values()]} out")
        answers: list[Tensors | Exception] = []
        place = 0
        for one in batch:
            answers.append({name: array[place : place + one.rows] for name, array in outputs.items()})
            place += one.rows
        return answers

    def _deliver(self, batch: list[_Waiting], answers: list[Tensors | Exception]) -> None:
        self._observe(sum(one.rows for one in batch))
        for one, answer in zip(batch, answers, strict=True):
            if one.answer.done():
                continue
            if isinstance(answer, Exception):
                _log.error("model %s failed", self.servable.name, exc_info=answer)
                one.answer.set_exception(Refusal(500, "the model failed on this request"))
            else:
                one.answer.set_result(answer)

    def _sweep(self) -> None:
        """Answer 504 to all whose time is up, also to those whose batch is still being computed."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        if any(now - running.began > _HUNG * self._seconds for running in self._running):
            _log.critical("model %s hangs: this worker ends, another begins", self.servable.name)
            os.kill(os.getpid(), signal.SIGKILL)  # nothing else ends a thread that computes
        due = [*self._queue, *(one for running in self._running for one in running.batch)]
        late = [one for one in due if one.deadline < now and not one.answer.done()]
        for one in late:
            one.answer.set_exception(Refusal(504, f"no answer within {self._seconds:g} s"))
        self._sweeper = loop.call_later(_SWEEP, self._sweep) if due else None
