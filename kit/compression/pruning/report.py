"""What pruning took away and what it cost: per layer, in total, and in accuracy."""

from __future__ import annotations

import copy
from dataclasses import asdict, dataclass
from html import escape
from typing import TYPE_CHECKING, Any

import torch

from kit import plots
from kit.compression.layers import weighted
from kit.measurement import size
from kit.notebook import Readable

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from torch import nn

    from kit.compression.layers import Layer
    from kit.statistics import Measurement
    from kit.training.history import History
    from kit.variant import Signature


@dataclass(frozen=True)
class LayerSize:
    """How large one layer is.

    Attributes:
        name: the layer; "other" gathers what is neither convolution nor linear, such as batch norm.
        shape: the shape of its weight.
        parameters: weights and biases.
        nonzero: those that are not zero.
        macs: multiply-accumulates for one sample.
    """

    name: str
    shape: tuple[int, ...]
    parameters: int
    nonzero: int
    macs: int


@dataclass(frozen=True)
class ModelSize:
    """How large a net is: its layers, their sum, and its bytes as a safetensors file."""

    layers: tuple[LayerSize, ...]
    total: LayerSize
    bytes: int


@dataclass(frozen=True)
class PruneReport(Readable):
    """What pruning did.

    Attributes:
        method: how the weights were chosen.
        before, after: the sizes.
        dense: accuracy (regression: RMSE) of the dense parent on the validation split.
        damaged: likewise after the last pruning step, before it was fine-tuned.
        pruned: likewise of the result.
        whole: layers that were left whole, each with the reason.
        histories: the fine-tuning after each step.
    """

    method: str
    before: ModelSize
    after: ModelSize
    dense: Measurement
    damaged: Measurement
    pruned: Measurement
    whole: dict[str, str]
    histories: tuple[History, ...]

    def plot(self) -> Figure:
        """Draw parameters and multiply-accumulates of each layer, before and after."""
        parts = self.before.layers, self.after.layers
        weights, macs = ([[getattr(row, key) for row in p] for p in parts] for key in ("nonzero", "macs"))
        return plots.layer_bars(
            [layer.name for layer in self.before.layers],
            {
                "non-zero parameters": (weights[0], weights[1]),
                "multiply-accumulates": (macs[0], macs[1]),
            },
        )

    def rows(self) -> list[tuple[str, ...]]:
        """Return the table, header first: one row a layer, the totals last."""
        header = ("layer", "shape", "parameters", "non-zero", "kept", "MACs")
        pairs = list(zip(self.before.layers, self.after.layers, strict=True))
        return [header, *(_row(*pair) for pair in pairs), _row(self.before.total, self.after.total)]

    def __str__(self) -> str:
        rows = self.rows()
        columns = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
        lines = [
            "  ".join(
                c.ljust(w) if i < 2 else c.rjust(w) for i, (c, w) in enumerate(zip(row, columns, strict=True))
            )
            for row in rows
        ]
        return "\n".join([*(line.rstrip() for line in lines), "", *self._facts()])

    def _repr_html_(self) -> str:
        head, *body = self.rows()
        cells = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in body)
        facts = "".join(f"<p>{escape(fact)}</p>" for fact in self._facts())
        return f"<table><tr>{''.join(f'<th>{escape(cell)}</th>' for cell in head)}</tr>{cells}</table>{facts}"

    def _facts(self) -> list[str]:
        scores = f"dense {_score(self.dense)}, pruned {_score(self.damaged)}"
        if self.histories:
            scores += f", fine-tuned {_score(self.pruned)}"
        facts = [
            f"{self.before.bytes:,} → {self.after.bytes:,} bytes on disk",
            f"on {self.dense.n:,} validation samples: {scores}",
        ]
        return facts + [f"{layer} was left whole: {reason}" for layer, reason in self.whole.items()]

    def to_dict(self) -> dict[str, Any]:
        """Return everything as a dictionary fit for JSON."""
        sizes = {key: asdict(getattr(self, key)) for key in ("before", "after")}
        scores = {key: getattr(self, key).to_dict() for key in ("dense", "damaged", "pruned")}
        histories = [history.to_dict() for history in self.histories]
        return {"method": self.method, **sizes, **scores, "whole": self.whole, "histories": histories}


def measure(module: nn.Module, signature: Signature) -> ModelSize:
    """Measure a net layer by layer."""
    macs = _layer_macs(module, signature)
    rows = [
        LayerSize(name, tuple(layer.weight.shape), size.parameters(layer), size.nonzero(layer), macs[name])
        for name, layer in weighted(module).items()
    ]
    counts = (size.parameters(module), size.nonzero(module), size.macs(module, signature))
    listed = (sum(values) for values in zip(*((r.parameters, r.nonzero, r.macs) for r in rows), strict=True))
    rest = [all_of_it - part for all_of_it, part in zip(counts, listed, strict=True)]
    if any(rest):
        rows.append(LayerSize("other", (), *rest))
    return ModelSize(tuple(rows), LayerSize("total", (), *counts), size.bytes_on_disk(module))


@torch.no_grad()
def _layer_macs(module: nn.Module, signature: Signature) -> dict[str, int]:
    """Count the products of each layer in one sample: one row of the weight for each value that comes out."""
    clone = copy.deepcopy(module).eval()
    counts = dict.fromkeys(weighted(clone), 0)

    def listen(name: str, layer: Layer) -> None:
        def hook(_layer: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
            values = inputs[0] if getattr(layer, "transposed", False) else output
            counts[name] += values.numel() * layer.weight[0].numel()

        layer.register_forward_hook(hook)

    for name, layer in weighted(clone).items():
        listen(name, layer)
    clone(torch.zeros(1, *signature.shape, device=next(clone.parameters()).device))
    return counts


def _row(before: LayerSize, after: LayerSize) -> tuple[str, ...]:
    shapes = ["×".join(map(str, part.shape)) for part in (before, after)]
    return (
        before.name,
        shapes[0] if shapes[0] == shapes[1] else " → ".join(shapes),
        _change(before.parameters, after.parameters),
        _change(before.nonzero, after.nonzero),
        f"{after.nonzero / max(before.nonzero, 1):.1%}",
        _change(before.macs, after.macs),
    )


def _change(before: int, after: int) -> str:
    return f"{before:,}" if before == after else f"{before:,} → {after:,}"


def _score(value: Measurement) -> str:
    return f"{value:.2%}" if value.method.startswith("Wilson") else f"{value:.4g}"
