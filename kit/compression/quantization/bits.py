"""`bit_sensitivity`: what 4 or 8 bits in each layer alone do to the answers, and how to spend bytes by it."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import torch

from kit import plots
from kit.compression.distillation.distill import soft_loss
from kit.compression.quantization import weight_only
from kit.compression.quantization.float_file import checked_file, float_variant
from kit.compression.quantization.onnx_layers import layers, prepare
from kit.data import as_dataset
from kit.errors import ArgumentError
from kit.measurement import table
from kit.measurement.evaluate import score
from kit.measurement.predict import logits
from kit.notebook import Readable
from kit.runtime.onnx_model import OnnxModel
from kit.variant import as_variant

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.figure import Figure
    from torch import nn

    from kit.data import Dataset
    from kit.statistics import Measurement
    from kit.variant import Variant

BITS = (4, 8)
_CELLS = 4000  # into so many parts the bytes are divided to find out where they do most good


@dataclass(frozen=True)
class Trial:
    """A file with some bits, measured.

    Attributes:
        bits: by layer; 32 where a layer is not named.
        bytes: of the file.
        score: accuracy (or root-mean-square error) on the validation samples.
        loss: how far its answers are from those of float32: the Kullback-Leibler divergence of the classes
            in nats, the mean over the samples; in regression the mean squared difference.
    """

    bits: Mapping[str, int]
    bytes: int
    score: Measurement
    loss: float


@dataclass(frozen=True)
class BitScan(Readable):
    """What a scan found.

    Attributes:
        dense: the float32 file.
        trials: by layer, the files in which that layer alone has 4 and 8 bits.
    """

    dense: Trial
    trials: Mapping[str, tuple[Trial, ...]]

    @property
    def least(self) -> int:
        """The bytes of a file with the fewest bits everywhere, if layers added up."""
        whole = self.dense.bytes
        return whole + sum(min(0, *(trial.bytes - whole for trial in row)) for row in self.trials.values())

    def bits(self, budget: int) -> dict[str, int]:
        """Return the bits of each layer with the least loss in so many bytes, if layers added up.

        Args:
            budget: bytes of the whole file; what layers cost together is estimated from each alone.

        Raises:
            ArgumentError: when the budget is out of reach.
        """
        rows = [(self.dense, *row) for row in self.trials.values()]
        smallest = [min(trial.bytes for trial in row) for row in rows]
        costs = [[t.bytes - small for t in row] for row, small in zip(rows, smallest, strict=True)]
        if self.least > budget:
            raise ArgumentError(
                f"{budget:,} bytes are out of reach: the fewest bits everywhere leave about {self.least:,}"
            )
        chosen = knapsack([[trial.loss for trial in row] for row in rows], costs, budget - self.least)
        return {layer: (32, *BITS)[place] for layer, place in zip(self.trials, chosen, strict=True)}

    def plot(self) -> Figure:
        """Draw the loss of each layer at each number of bits."""
        rows = {layer: [trial.loss for trial in trials] for layer, trials in self.trials.items()}
        score = self.dense.score
        return plots.bit_sensitivity(
            rows, BITS, text=f"n = {score.n:,} validation samples, one layer at a time"
        )

    def rows(self) -> list[tuple[str, ...]]:
        """Return the table, header first."""
        head = ("layer", *(f"{what}, {bits} bits" for what, bits in product(("loss", "bytes saved"), BITS)))
        return [
            head,
            *(
                (
                    layer,
                    *(f"{trial.loss:.2g}" for trial in trials),
                    *(f"{self.dense.bytes - trial.bytes:,}" for trial in trials),
                )
                for layer, trials in self.trials.items()
            ),
        ]

    def to_dict(self) -> dict[str, Any]:
        """Return everything as a dictionary fit for JSON."""

        def plain(trial: Trial) -> dict[str, Any]:
            return {**vars(trial), "bits": dict(trial.bits), "score": trial.score.to_dict()}

        trials = {layer: [plain(trial) for trial in row] for layer, row in self.trials.items()}
        return {"dense": plain(self.dense), "trials": trials}

    def _title(self) -> str:
        return (
            f"one layer with fewer bits, the others in float32 ({self.dense.bytes:,} bytes); loss: distance "
            f"from its answers, n = {self.dense.score.n:,}"
        )

    def __str__(self) -> str:
        head, *body = self.rows()
        return f"{self._title()}\n{table.text(head, body)}"

    def _repr_html_(self) -> str:
        head, *body = self.rows()
        return table.html(self._title(), head, body)


def bit_sensitivity(
    model: nn.Module | Variant,
    data: Any,
    *,
    block: int | None = weight_only.BLOCK,
    samples: int = 2000,
    seed: int = 0,
) -> BitScan:
    """Store one layer at a time in 4 and in 8 bits, and measure on the validation split what that does.

    Args:
        model: a trained module or variant, also of an ONNX file; not changed.
        data: a `Dataset` or whatever `kit.data.as_dataset` takes.
        block: how many weights share a scale at 4 bits, as in `kit.quantize`.
        samples: how many validation samples to measure on.
        seed: which samples are drawn.

    Source: Z. Dong et al., "HAWQ-V2: Hessian aware trace-weighted quantization", arXiv:1911.03852, for bits
    by sensitivity under a budget; here it is measured rather than estimated from curvature.

    Example:
        >>> scan = kit.bit_sensitivity(dense, data)  # doctest: +SKIP
        >>> kit.quantize(dense, data, scheme="mixed", bits=scan.bits(30_000))  # doctest: +SKIP
    """
    data = as_dataset(data)
    variant = as_variant(model, data.signature)
    with tempfile.TemporaryDirectory(prefix="maaskit-bits-") as folder:
        prepared = Path(folder) / "prepared.onnx"
        prepare(checked_file(float_variant(variant, data)), prepared)
        return Workbench(variant, prepared, data, block=block, samples=samples, seed=seed).scan()


class Workbench:
    """Writes a file with given bits and measures it.

    Args:
        variant: the model, for its signature.
        prepared: its float32 file.
        data: measured on its valid split.
        block, samples, seed: as in `bit_sensitivity`.
    """

    def __init__(
        self,
        variant: Variant,
        prepared: Path,
        data: Dataset,
        *,
        block: int | None,
        samples: int = 2000,
        seed: int = 0,
    ) -> None:
        self._variant, self._prepared, self._block = variant, prepared, block
        self._few = replace(data, valid=data.valid.take(samples, seed))
        self._layers = layers(onnx.load(prepared))
        self._expected = self._answers(prepared)

    def trial(self, bits: Mapping[str, int]) -> Trial:
        """Write and measure one file."""
        if set(bits.values()) <= {32}:
            return self._measured(bits, self._prepared)
        with tempfile.TemporaryDirectory(prefix="maaskit-trial-") as folder:
            path = Path(folder) / "trial.onnx"
            forms = weight_only.forms(self._layers, bits, block=self._block)
            weight_only.quantize_weights(self._prepared, path, forms)
            return self._measured(bits, path)

    def scan(self) -> BitScan:
        """Try each layer alone."""
        names = [layer.name for layer in self._layers]
        return BitScan(self.trial({}), {k: tuple(self.trial({k: bits}) for bits in BITS) for k in names})

    def spend(self, budget: int) -> dict[str, int]:
        """Return the bits of each layer with which a file has at most `budget` bytes and answers best.

        What the scan of single layers proposes is written and measured as a whole, and so are the files with
        the same bits everywhere; the best of those that keep the budget is taken.

        Raises:
            ArgumentError: when the budget is out of reach; it names the bytes of the smallest file.
        """
        scan = self.scan()
        fewest = {k: BITS[int(np.argmin([t.bytes for t in row]))] for k, row in scan.trials.items()}
        tried = [self.trial(fewest), *(self.trial(dict.fromkeys(scan.trials, bits)) for bits in BITS)]
        smallest = min(trial.bytes for trial in tried)
        if smallest > budget:
            raise ArgumentError(
                f"{budget:,} bytes are out of reach: the smallest file, with the fewest bits in every "
                f"layer, has {smallest:,}; raise budget=, or start from a smaller net"
            )
        room, over = budget, 1
        while over > 0 and room >= scan.least:  # together layers take a few bytes more or less than alone
            tried.append(self.trial(scan.bits(room)))
            over = tried[-1].bytes - budget
            room -= max(over, 0)
        return dict(min((t for t in tried if t.bytes <= budget), key=lambda trial: trial.loss).bits)

    def _answers(self, path: Path) -> np.ndarray[Any, np.dtype[np.float32]]:
        return logits(self._variant.derive(OnnxModel(path), "quantize", {}), self._few.valid)

    def _measured(self, bits: Mapping[str, int], path: Path) -> Trial:
        outputs = self._answers(path)
        signature, task = self._few.signature, self._few.signature.task
        ours, theirs = torch.from_numpy(outputs), torch.from_numpy(self._expected)
        if task == "generation":
            ours, theirs = (t.view(len(t), signature.outputs, *signature.shape) for t in (ours, theirs))
        loss = float(soft_loss(ours, theirs, temperature=1.0, task=task))
        return Trial(
            dict(bits),
            path.stat().st_size,
            score(self._variant.name, outputs, self._few, "valid").score,
            loss,
        )


def knapsack(losses: Sequence[Sequence[float]], costs: Sequence[Sequence[int]], room: int) -> list[int]:
    """Choose one option a row, with the least sum of losses and a sum of costs of at most `room`.

    Costs are rounded up to a four-thousandth of the room, so that the sum is kept for certain.

    Args:
        losses, costs: by row and option; some option of each row costs 0.
        room: what may be spent.

    >>> knapsack([[0.0, 1.0], [0.0, 3.0]], [[5, 0], [5, 0]], 5)
    [1, 0]
    """
    unit = max(1, -(-room // _CELLS))
    cells = room // unit + 1
    best, picks = np.zeros(cells), []
    for row, prices in zip(losses, costs, strict=True):
        options = np.full((len(row), cells), np.inf)
        for place, (loss, price) in enumerate(zip(row, prices, strict=True)):
            shift = -(-price // unit)
            if shift < cells:
                options[place, shift:] = best[: cells - shift] + loss
        picks.append(options.argmin(0))
        best = options.min(0)
    chosen, cell = [], cells - 1
    for pick, prices in zip(reversed(picks), reversed(costs), strict=True):
        chosen.append(int(pick[cell]))
        cell -= -(-prices[chosen[-1]] // unit)
    return chosen[::-1]
