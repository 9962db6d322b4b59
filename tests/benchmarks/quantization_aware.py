"""Training for few bits: fp32, rounded after training, rounded while training; and mixed bits under budgets.

python tests/benchmarks/quantization_aware.py [epochs of training [epochs of fine-tuning [training images]]]
"""

from __future__ import annotations

import sys
import time

import kit
from kit.measurement import table

HOW = {"precision": "fp32", "layout": "channels_last"}  # the same for all, and on every machine
BUDGETS = (0.0, 0.25, 0.5, 1.0)  # where between the files with 4 and with 8 bits everywhere


def rows(dense, data, finetune):
    """Go through what can be done with a net: name, bytes, test accuracy, change against fp32, seconds."""
    names = [row.name for row in kit.quantize(dense, data, scheme="weights8").report.layers]
    four = {"scheme": "mixed", "bits": dict.fromkeys(names, 4), "block": None}
    forms = {
        "int8 weights and activations": {"scheme": "static"},
        "int4 weights in blocks": {"scheme": "weights4"},
        "int4 weights, all layers, a scale an output": four,
    }
    file = kit.export(dense, data=data)
    yield "fp32", file.file.stat().st_size, kit.evaluate(file, data), None, 0.0
    for name, form in forms.items():
        for epochs in (0, finetune):
            training = {"finetune": epochs, "lr": 2e-3, **HOW} if epochs else {}
            label = f"{name}, {'trained' if epochs else 'rounded'}"
            yield measured(dense, data, label, **form, **training)
    least, most = (
        kit.quantize(dense, data, scheme="mixed", bits=dict.fromkeys(names, bits)).report.bytes_after
        for bits in (4, 8)
    )
    for share in BUDGETS:
        budget = int(least + share * (most - least))
        yield measured(dense, data, f"mixed, budget {budget:,}", scheme="mixed", budget=budget)


def measured(dense, data, label, **settings):
    begin = time.perf_counter()
    small = kit.quantize(dense, data, **settings)
    seconds = time.perf_counter() - begin
    change = kit.agreement(dense, small, data).change
    return label, small.report.bytes_after, kit.evaluate(small, data), change, seconds


def main(epochs: int = 15, finetune: int = 5, images: int = 55_000) -> None:
    data = kit.data.fashion_mnist()
    if images < len(data.train):
        data = data.subset(images, 2000, 4000)
    for make in (kit.models.mobilenet, kit.models.convnet):
        dense = kit.train(make(), data, epochs=epochs, lr=1e-2, **HOW)
        body = []
        for name, size, found, change, seconds in rows(dense, data, finetune):
            points = (
                "" if change is None else f"{100 * change.value:+.2f} ± {50 * (change.high - change.low):.2f}"
            )
            body.append((name, f"{size:,}", f"{found.score:.2%}", points, f"{seconds:.0f}"))
        print(f"\n{dense.name}, {epochs} epochs, {finetune} of fine-tuning; test split of {data.name}\n")
        print(table.text(("form", "bytes", "accuracy", "points against fp32", "s"), body), flush=True)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
