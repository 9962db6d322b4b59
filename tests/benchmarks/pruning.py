"""Half of the channels of the residual net: size, speed and accuracy, on all of Fashion-MNIST.

python tests/benchmarks/pruning.py [epochs of training [epochs of fine-tuning]]
"""

from __future__ import annotations

import sys

import kit


def main(epochs: int = 10, finetune: int = 5) -> None:
    data = kit.data.fashion_mnist()
    dense = kit.train(kit.models.convnet(), data, epochs=epochs, lr=1e-2)
    print(f"dense: {epochs} epochs, {dense.report.samples_per_second:,.0f} samples/s\n")

    half = {"ratio": 0.5, "finetune": finetune, "lr": 5e-3}
    taught = kit.prune(dense, data, **half, name="half, taught")
    alone = kit.prune(dense, data, **half, distill=False, name="half, labels only")
    sparse = kit.prune(
        dense, data, ratio=0.9, method="lamp", steps=2, finetune=finetune, lr=5e-3, name="90 % zeros"
    )
    print(taught.report)
    print("\nwith and without a teacher:", kit.agreement(alone, taught, data), sep="\n")
    print("\nall of them, on the test split:")
    print(kit.compare([dense, taught, alone, sparse], data, batch_sizes=(1, 32), seconds=3))

    print("\n40 % of the channels, kept to the channel and in multiples of 8 (not fine-tuned):")
    rounded = [
        kit.prune(dense, data, ratio=0.4, round_to=unit, finetune=0, name=f"multiples of {unit}")
        for unit in (1, 4, 8)
    ]
    for variant in rounded:
        widths = sorted({layer.shape[0] for layer in variant.report.after.layers[:-2]})
        print(f"{variant.name}: widths {widths}, {variant.report.after.total.macs:,} multiply-accumulates")
    files = {variant.name: kit.export(variant, data=data) for variant in rounded}
    print(kit.benchmark(files, data, seconds=3))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
