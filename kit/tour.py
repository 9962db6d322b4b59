"""The tour: one model goes the whole way on real data, in one call and a few minutes."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING

import kit
from kit.data.augment import compose, random_flip, random_shift
from kit.files import atomic

if TYPE_CHECKING:
    from pathlib import Path

    from kit.data import Dataset
    from kit.measurement.compare import Comparison
    from kit.variant import Variant


def tour(folder: Path, *, data: Dataset | None = None, full: bool = False) -> Comparison:
    """Train, prune, distil, quantize, export and compare; print and save all of it.

    Args:
        folder: where the report and the model folders go.
        data: images of any kind; by default Fashion-MNIST, whole.
        full: train a wider net for 15 epochs with augmentation instead of 3 without.

    Returns:
        The comparison that the table shows.

    Raises:
        StorageError: at once when the folder cannot be written.
    """
    begin = time.perf_counter()
    with atomic(folder / ".writable") as probe:  # found now, not after minutes of training
        probe.touch()
    (folder / ".writable").unlink()

    def step(number: int, text: str) -> None:
        print(f"[{number}/7] {time.perf_counter() - begin:4.0f} s  {text}", flush=True)

    step(1, "Load Fashion-MNIST and check its checksums." if data is None else f"Take {data.name}.")
    data = data or kit.data.fashion_mnist()
    print(f"      {data}")
    epochs, more = (15, 3) if full else (3, 1)

    step(2, f"Train a small residual net, {epochs} epochs.")
    dense = _train_fully(data, epochs) if full else _train_briefly(data, epochs)

    step(3, "Prune half of its channels; fine-tune with the dense net as teacher.")
    slim = kit.prune(dense, data, ratio=0.5, finetune=more)

    step(4, "Distil it into a depthwise-separable net a quarter of its size.")
    student = kit.distill(kit.models.mobilenet(), dense, data, epochs=epochs, lr=1e-2)

    step(5, "Quantize to 8 bits, calibrated on the validation split.")
    quantized = [kit.quantize(variant, data) for variant in (dense, slim)]

    step(6, "Export to ONNX, prove parity in fresh processes, measure all side by side on the test split.")
    comparison = kit.compare([dense, slim, student, *quantized], data)

    step(7, "Save the model folders and the report.")
    saved = [kit.save(variant, folder / "models" / _slug(variant.name)) for variant in comparison.variants]
    report = comparison.to_html(folder / "report.html")
    print(f"\n{comparison}\n")
    print(f"Report         {report}")
    print(f"Model folders  {saved[0].parent} ({', '.join(path.name for path in saved)})")
    print(f"Time           {time.perf_counter() - begin:.0f} s")
    return comparison


def _train_briefly(data: Dataset, epochs: int) -> Variant:
    return kit.train(kit.models.convnet(), data, epochs=epochs, optimizer="adamw", lr=1e-2, weight_decay=0.05)


def _train_fully(data: Dataset, epochs: int) -> Variant:
    """Train a net half as wide again; optimizer, width and shift were chosen on the validation split."""
    return kit.train(
        kit.models.convnet(widths=(24, 48, 96)),
        data,
        epochs=epochs,
        optimizer="sgd",
        lr=0.1,
        weight_decay=5e-4,
        augment=compose(random_flip(), random_shift(1)),
    )


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
