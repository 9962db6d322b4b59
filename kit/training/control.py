"""Stopping and pausing a run: from a callback, from another thread, by Ctrl-C."""

from __future__ import annotations

import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kit.training.history import Ending


class Stop(Exception):  # noqa: N818 -- a request, not an error
    """Raise it in `on_epoch` or `on_step` to end the run there; the best weights are kept."""


class Control:
    """A handle on a running `train` or `fit`, safe to use from any thread.

    Once stopped it stays so, and whatever else was given the same control ends at once: the later stages of
    a verb that trains several times. A new run wants a new control.

    >>> control = Control()
    >>> control.pause()     # after the step that is being computed
    >>> control.resume()
    >>> control.stop()
    >>> control.ending
    'stopped'
    """

    def __init__(self) -> None:
        self.ending: Ending = "finished"
        self._go = threading.Event()
        self._go.set()

    def stop(self, ending: Ending = "stopped") -> None:
        """End the run after the step that is being computed, even if it is paused."""
        self.ending = ending
        self._go.set()

    def pause(self) -> None:
        """Hold the run after the step that is being computed."""
        if not self.stopping:
            self._go.clear()

    def resume(self) -> None:
        """Let a paused run go on."""
        self._go.set()

    @property
    def paused(self) -> bool:
        """Whether the run is held."""
        return not self._go.is_set()

    @property
    def stopping(self) -> bool:
        """Whether the run was asked to end."""
        return self.ending != "finished"

    def hold(self) -> None:
        """Wait while paused; the loop calls this after every step."""
        if not self._go.is_set():
            self._go.wait()


@contextmanager
def interruptible(control: Control) -> Iterator[None]:
    """Turn the first Ctrl-C into `control.stop("interrupted")`; a second one raises KeyboardInterrupt.

    So no optimizer step, mask or checkpoint is ever cut in half. Only the main thread gets signals: in
    others this does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def on_interrupt(_number: int, _frame: Any) -> None:
        if control.stopping:
            raise KeyboardInterrupt
        control.stop("interrupted")

    before = signal.signal(signal.SIGINT, on_interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
