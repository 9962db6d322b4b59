"""A model with a way to be run, opened at its first call: what files and modules share."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from kit.runtime.engines import Engine
    from kit.runtime.execution import Execution


class LazyModel:
    """Maps (N, *shape) float32 to (N, outputs) float32; opened at the first call, once for all threads.

    Attributes:
        execution: how it is run; on a machine with fewer cores with as many threads as that has.
    """

    def __init__(self, execution: Execution) -> None:
        self.execution = execution
        self._engine: Engine | None = None
        self._lock = threading.Lock()

    @property
    def runtime(self) -> str:
        """The runtime it is meant for."""
        return self.execution.runtime

    def __call__(self, inputs: NDArray[np.float32], /) -> NDArray[np.float32]:
        """Run the model.

        Raises:
            DataError: when it cannot take inputs of this shape or dtype.
            DeviceError: at the first call, when this machine cannot run it in that way.
        """
        with self._lock:
            if self._engine is None:
                self._engine = self._open(self.execution.here())
            engine = self._engine
        return engine.run(np.ascontiguousarray(inputs))

    def close(self) -> None:
        """Free what the runtime holds; the next call opens the model again."""
        with self._lock:
            self._engine = None

    def _open(self, how: Execution) -> Engine:
        raise NotImplementedError
