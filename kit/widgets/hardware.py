"""`Hardware`: what this process may use, what the machine does now, and whether to benchmark on it."""

from __future__ import annotations

import threading
from html import escape
from typing import TYPE_CHECKING

import ipywidgets as W

from kit import device, gauges
from kit.measurement.clock import BUSY, Watch
from kit.widgets import markup
from kit.widgets.curves import Curve, chart
from kit.widgets.panel import Panel

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from kit.gauges import Reading
    from kit.widgets.panel import Table

_GB = 1e9


class Hardware(Panel):
    """Cores, threads, memory and load, live; a GPU's use, memory, temperature and power where there is one.

    Args:
        interval: seconds between two readings while it watches.

    Attributes:
        reading: the last one.
        busy: the share of all cores that others took between the last two readings, 0 to 1.

    Example:
        >>> kit.widgets.Hardware()  # doctest: +SKIP
    """

    title = "Hardware"
    about = "Shows what this process may use, and what the machine is doing now."

    def __init__(self, *, interval: float = 1.0) -> None:
        self._interval, self._stop = interval, threading.Event()
        self._thread: threading.Thread | None = None
        self._watch, self.busy, self._cpu, self._count = Watch(), 0.0, 0.0, 0
        self._curves = [Curve("all"), Curve("others")]
        self._view = W.HTML()
        self._switch = self.button(
            "Watch", "Read the gauges again and again, or stop", self.switch, "primary"
        )
        once = self.button("Read once", "Read the gauges now", self.read)
        self.reading = gauges.read()
        super().__init__(W.HBox([self._switch, once]), self._view)
        self._show()

    @property
    def code(self) -> str:
        """The functions behind the gauges."""
        return "kit.device.describe(), kit.gauges.read()"

    @property
    def watching(self) -> bool:
        """Whether it reads by itself."""
        return self._thread is not None and self._thread.is_alive()

    def read(self) -> None:
        """Read the gauges and show them."""
        self.reading, self.busy = gauges.read(), self._watch.others()
        self._cpu, self._watch = self._watch.busy(), Watch()
        at = self._count * self._interval
        self._count += 1
        for curve, value in zip(self._curves, (self._cpu, self.busy), strict=True):
            curve.add(at, value)
        self._show()

    def switch(self) -> None:
        """Begin to watch, or stop."""
        if self.watching:
            self._stop.set()
            self._switch.description = "Watch"
            return
        self._stop.clear()
        self._thread = threading.Thread(target=self._run, daemon=True, name="kit-gauges")
        self._thread.start()
        self._switch.description = "Stop watching"

    def figure(self) -> Figure | None:
        """Return None: a table says it all."""
        return None

    def table(self) -> Table:
        """Return every gauge with its value."""
        return f"{device.describe()}", ("", "value"), self._rows()

    def _run(self) -> None:
        while not self._stop.wait(self._interval):
            self.attempt(self.read)

    def _rows(self) -> list[tuple[str, str]]:
        now: Reading = self.reading
        rows = [
            ("cores for this process", str(now.cores)),
            ("load a core", f"{now.load:.2f}"),
            ("processor", f"{self._cpu:.0%}"),
            ("taken by others", f"{self.busy:.0%}"),
            ("memory", f"{now.used / _GB:.1f} of {now.total / _GB:.1f} GB"),
            ("of it this kernel", f"{now.own / _GB:.2f} GB"),
        ]
        for gpu in now.gpus:
            watts = "" if gpu.watts is None else f", {gpu.watts:.0f} W"
            memory = f"{gpu.used / _GB:.1f} of {gpu.total / _GB:.1f} GB"
            rows.append((gpu.name, f"{gpu.use:.0%}, {memory}, {gpu.celsius} °C{watts}"))
        return rows

    def _show(self) -> None:
        seen = (
            "" if self.reading.gpus else "No NVIDIA GPU is seen (that takes a driver and the energy extra)."
        )
        used = chart(self._curves, title="processor", x_label="seconds", show="{:.0%}".format, zero=True)
        self._view.value = (
            f"<div>{escape(device.describe())}</div>{markup.facts(self._rows())}<div>{seen}</div>{used}"
        )
        if self.busy > BUSY:
            verdict = "Others keep this machine busy: timings taken now would not hold."
        elif self._count:
            verdict = "Quiet: timings taken now can be trusted."
        else:
            verdict = "Read the gauges to see if the machine is quiet."
        if self.frame.status != verdict:
            self.say(verdict)
