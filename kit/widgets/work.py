"""A verb at work: in one worker thread, while the cell that waits polls and the panel stays alive."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

from kit.errors import BusyError
from kit.training import Control

if TYPE_CHECKING:
    from collections.abc import Callable

# One at a time in a process: torch's threads, flags and generators belong to all of it.
_RUNNING = threading.Lock()

POLL = 0.05
"""Seconds between two looks at the worker: a bare `await` of its end could not be interrupted."""


class Work:
    """Runs one call at a time in a worker thread.

    Attributes:
        control: of the call that runs, or ran last: pause, resume, stop.
        result: what the last call returned; None before, or when it failed.
        error: what the last call raised, or None.
    """

    def __init__(self) -> None:
        self.control = Control()
        self.result: Any = None
        self.error: Exception | None = None
        self._thread: threading.Thread | None = None

    @property
    def running(self) -> bool:
        """Whether a call runs now."""
        return self._thread is not None and self._thread.is_alive()

    def start(self, call: Callable[[Control], Any], ended: Callable[[], None]) -> None:
        """Run `call(control)` in a worker thread, and then, in the same thread, `ended()`.

        Neither may print: what a thread prints lands in whichever cell is running then.

        Raises:
            BusyError: when a call runs already, of this panel or of another.
        """
        if not _RUNNING.acquire(blocking=False):
            whose = "this panel" if self.running else "another panel"
            raise BusyError(f"{whose} is still working; stop it, or wait for its end")
        self.control, self.result, self.error = Control(), None, None
        self._thread = threading.Thread(target=self._run, args=(call, ended), daemon=True, name="kit-panel")
        self._thread.start()

    def _run(self, call: Callable[[Control], Any], ended: Callable[[], None]) -> None:
        try:
            self.result = call(self.control)
        except Exception as error:  # noqa: BLE001 -- the panel shows it, and `wait` raises it in the cell
            self.error = error
        try:
            ended()
        except Exception as error:  # noqa: BLE001 -- likewise
            self.error = self.error or error
        finally:
            _RUNNING.release()

    async def wait(self) -> Any:
        """Wait for the end of the call, if one runs, and return its result.

        The kernel's interrupt asks the call to stop and goes on waiting for what it has so far; a second
        one leaves the call to itself. In an awaiting cell an interrupt is a CancelledError.

        Raises:
            Exception: what the call raised.
        """
        try:
            await self._ended()
        except (asyncio.CancelledError, KeyboardInterrupt):
            self.control.stop("interrupted")
            await self._ended()
        if self.error is not None:
            raise self.error
        return self.result

    async def _ended(self) -> None:
        while self.running:
            await asyncio.sleep(POLL)
