"""Ctrl-C, callbacks and other threads end or hold a run, and nothing is lost."""

from __future__ import annotations

import os
import signal
import threading

import pytest
import torch
from torch import nn

import kit
from kit.training import Control, Stop


@pytest.fixture(scope="module")
def small(fashion):
    return fashion.subset(1000, 200, 200)


def net():
    torch.manual_seed(1)
    return nn.Sequential(nn.Flatten(), nn.Linear(784, 32), nn.ReLU(), nn.Linear(32, 10))


def press_ctrl_c(at):
    """Return a listener that sends this process SIGINT after `at` steps, as a terminal or Jupyter does."""
    seen = []

    def listen(_step):
        seen.append(1)
        if len(seen) == at:
            os.kill(os.getpid(), signal.SIGINT)

    return listen


def accuracy(trained, split):
    return float((torch.from_numpy(trained(split.inputs)).argmax(1) == split.targets).float().mean())


@pytest.mark.parametrize("at", [1, 8, 13, 20])
def test_ctrl_c_returns_the_best_weights_and_the_history(small, at):
    handler = signal.getsignal(signal.SIGINT)
    trained = kit.train(net(), small, epochs=4, lr=5e-3, on_step=press_ctrl_c(at))
    history = trained.report
    assert history.stopped == "interrupted"
    assert sum(epoch.share for epoch in history.epochs) == pytest.approx(at / 8)
    assert accuracy(trained, small.valid) == pytest.approx(history.best.valid_metric)
    assert signal.getsignal(signal.SIGINT) is handler, "the next Ctrl-C is the caller's own"
    assert "interrupted" in str(history)


def test_an_interrupt_that_a_callback_raises_counts_as_one(small):
    def listen(_epoch):
        raise KeyboardInterrupt

    trained = kit.train(net(), small, epochs=4, on_epoch=listen)
    assert trained.report.stopped == "interrupted"
    assert len(trained.report.epochs) == 1


def test_two_quick_ctrl_c_still_return_the_best_weights(small):
    press = press_ctrl_c(10), press_ctrl_c(10)
    trained = kit.train(net(), small, epochs=4, on_step=lambda step: [one(step) for one in press])
    assert trained.report.stopped == "interrupted"
    assert accuracy(trained, small.valid) == pytest.approx(trained.report.best.valid_metric)


def test_a_run_that_is_held_ends_by_ctrl_c(small):
    """The signal comes from a thread that knows the run is waiting, as a kernel's interrupt button does."""
    control, steps = Control(), []

    def interrupt():
        while not control.paused:
            pass
        os.kill(os.getpid(), signal.SIGINT)

    def listen(step):
        steps.append(step)
        if len(steps) == 3:
            threading.Thread(target=interrupt).start()
            control.pause()

    trained = kit.train(net(), small, epochs=4, on_step=listen, control=control)
    assert trained.report.stopped == "interrupted"
    assert len(steps) == 3


@pytest.mark.parametrize("listener", ["on_epoch", "on_step"])
def test_a_listener_may_stop(small, listener):
    def listen(_news):
        raise Stop

    trained = kit.train(net(), small, epochs=4, **{listener: listen})
    assert trained.report.stopped == "stopped"
    assert len(trained.report.epochs) == 1


def test_an_error_in_a_listener_is_not_swallowed(small):
    def listen(_step):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        kit.train(net(), small, on_step=listen)


def test_another_thread_pauses_resumes_and_stops(small):
    control, steps, reached = Control(), [], threading.Event()

    def listen(step):
        steps.append(step)
        if len(steps) == 5:
            control.pause()
            reached.set()

    done = []
    worker = threading.Thread(
        target=lambda: done.append(kit.train(net(), small, epochs=50, control=control, on_step=listen))
    )
    worker.start()
    assert reached.wait(60)
    assert control.paused
    worker.join(0.2)
    assert worker.is_alive()
    assert len(steps) == 5, "a paused run computes nothing"
    control.resume()
    control.stop()
    worker.join(60)
    assert done[0].report.stopped == "stopped"
    assert len(steps) < 50 * 8


def test_a_paused_run_can_be_stopped():
    control = Control()
    control.pause()
    control.stop()
    control.hold()  # would wait for ever if stop() left the pause in place
    control.pause()
    assert not control.paused, "a run that ends is not held any more"


def test_pausing_changes_nothing(small):
    control = Control()

    def listen(_step):
        control.pause()
        threading.Timer(0.001, control.resume).start()

    held = kit.train(net(), small, epochs=1, control=control, on_step=listen)
    plain = kit.train(net(), small, epochs=1)
    assert all(
        torch.equal(a, b) for a, b in zip(held.module.parameters(), plain.module.parameters(), strict=True)
    )
