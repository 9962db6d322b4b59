from __future__ import annotations

import asyncio
import threading

import pytest

from kit.errors import BusyError
from kit.widgets.work import Work


def nothing():
    pass


async def soon(condition):
    while not condition():
        await asyncio.sleep(0.005)


def test_a_call_runs_in_another_thread_and_its_result_comes_back():
    work, ended = Work(), []
    work.start(lambda _control: threading.current_thread().name, lambda: ended.append(work.result))
    assert asyncio.run(work.wait()) == "kit-panel" != threading.current_thread().name
    assert ended == ["kit-panel"]
    assert not work.running


def test_waiting_for_nothing_returns_at_once():
    assert asyncio.run(Work().wait()) is None


def test_an_error_is_raised_where_one_waits_and_the_next_call_runs():
    work = Work()
    work.start(lambda _control: 1 / 0, nothing)
    with pytest.raises(ZeroDivisionError):
        asyncio.run(work.wait())
    work.start(lambda _control: 2, nothing)
    assert asyncio.run(work.wait()) == 2


def test_an_error_at_the_end_is_not_swallowed_either():
    work = Work()
    work.start(lambda _control: 2, lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        asyncio.run(work.wait())


def test_a_second_call_is_refused_by_this_panel_and_by_another():
    first, second, go = Work(), Work(), threading.Event()
    first.start(lambda _control: go.wait(), nothing)
    with pytest.raises(BusyError, match="this panel"):
        first.start(lambda _control: 1, nothing)
    with pytest.raises(BusyError, match="another panel"):
        second.start(lambda _control: 1, nothing)
    go.set()
    assert asyncio.run(first.wait()) is True
    second.start(lambda _control: 1, nothing)
    assert asyncio.run(second.wait()) == 1


def test_an_interrupt_asks_the_call_to_stop_and_waits_for_what_it_has():
    work = Work()

    def count(control):
        steps = 0
        while not control.stopping:
            control.hold()
            steps += 1
        return control.ending, steps

    async def cell():
        task = asyncio.create_task(work.wait())
        await asyncio.sleep(0)  # now it waits
        task.cancel()
        return await task

    work.start(count, nothing)
    ending, steps = asyncio.run(cell())
    assert ending == "interrupted"
    assert steps > 0


def test_a_second_interrupt_leaves_a_call_that_cannot_stop():
    work, go = Work(), threading.Event()

    async def cell():
        task = asyncio.create_task(work.wait())
        await asyncio.sleep(0)
        task.cancel()
        await soon(lambda: work.control.stopping)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert work.running
        go.set()
        return await work.wait()

    work.start(lambda _control: go.wait() and "done", nothing)
    assert asyncio.run(cell()) == "done"
