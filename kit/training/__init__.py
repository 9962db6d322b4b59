"""Training: one loop for every verb that fits weights, with what it needs to be fast, repeatable and safe."""

from kit.training.control import Control, Stop
from kit.training.history import Epoch, History
from kit.training.loop import fit
from kit.training.train import train

__all__ = ["Control", "Epoch", "History", "Stop", "fit", "train"]
