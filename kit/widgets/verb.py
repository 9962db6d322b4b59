"""A panel that runs a verb: Start, Pause, Stop, and a cell that can wait for the end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import ipywidgets as W

from kit.errors import BusyError
from kit.widgets.panel import Panel
from kit.widgets.work import Work

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from kit.training import Control


class VerbPanel(Panel):
    """A panel over one verb, which runs in a worker thread so that the panel's controls go on working.

    In a notebook: the panel in one cell, `result = await panel.run()` in the next; Start in the panel does
    the same without a cell that waits. Stop, and the kernel's interrupt, end the work with what it has.

    Attributes:
        result: what the verb returned last, usually a `Variant`; None before.
        work: the thread.
    """

    action: ClassVar[str] = "Start"
    hint: ClassVar[str] = "Press Start, or run `await panel.run()` in a cell."
    pausable: ClassVar[bool] = True

    def __init__(self, *parts: W.Widget, extra: Sequence[W.Button] = ()) -> None:
        self.work = Work()
        self.result: Any = None
        self._waiting = 0
        self._begin = self.button(self.action, self.about, self.start, "primary")
        self._pause = self.button("Pause", "Hold after the step that is being computed, or go on", self.pause)
        self._stop = self.button("Stop", "End now and keep the best so far", self.stop)
        buttons = [*extra, self._begin, *([self._pause, self._stop] if self.pausable else [])]
        form, *rest = parts
        super().__init__(form, W.HBox(buttons), *rest)

    def prepare(self) -> Callable[[Control], Any]:
        """Return the call that Start makes, with the settings as they are now.

        Raises:
            KitError: when the settings do not make sense.
        """
        raise NotImplementedError

    def finished(self, result: Any) -> str:
        """Take in a result, in the worker's thread, and return what there is to say about it."""
        raise NotImplementedError

    def start(self) -> None:
        """Start, as the button does; the settings count as they are now.

        Raises:
            BusyError: when this panel or another is at work.
        """
        self._refuse()
        self.launch(self.prepare(), self.finished)

    def launch(self, call: Callable[[Control], Any], finished: Callable[[Any], str]) -> None:
        """Run a call in the worker thread and hand its result to `finished`."""
        self._refuse()

        def work(control: Control) -> str:
            self.say("Working …")
            return finished(call(control))

        self.work.start(work, self._ended)

    def pause(self) -> None:
        """Hold the run, or let it go on."""
        if not self.work.running:
            self.say("Nothing is running.")
        elif self.work.control.paused:
            self.work.control.resume()
            self._pause.description = "Pause"
            self.say("Working …")
        else:
            self.work.control.pause()
            self._pause.description = "Resume"
            self.say("Paused.")

    def stop(self) -> None:
        """End the run; what it has so far becomes the result."""
        if not self.work.running:
            self.say("Nothing is running.")
            return
        self.say("Stopping …")
        self.work.control.stop()

    async def run(self) -> Any:
        """Start, wait for the end, leave a figure and a table under the cell, and return the result.

        Raises:
            BusyError: when this panel or another is at work.
            Exception: what the verb raised.
        """
        self.start()
        return await self.wait()

    async def wait(self) -> Any:
        """Wait for what runs, if anything does, leave a figure and a table, and return the result."""
        self._waiting += 1
        try:
            await self.work.wait()
        finally:
            self._waiting -= 1
        self.snapshot()
        return self.result

    def _refuse(self) -> None:
        if self.work.running:
            raise BusyError("this panel is still working; stop it, or wait for its end")

    def _ended(self) -> None:
        """Show how the work ended; in its thread, which must not print."""
        self._pause.description = "Pause"
        if self.work.error is not None:
            self.say("Ended by an error; nothing was changed.")
            self.fail(self.work.error)
            return
        if not self._waiting:
            self.attempt(self.renew)
        self.say(self.work.result)
