"""The two nets that compression papers have compared since 1998."""

from __future__ import annotations

from torch import nn

from kit.models.architecture import architecture


@architecture
def lenet_300_100(*, classes: int = 10) -> nn.Module:
    """Build LeNet-300-100 for (1, 28, 28) inputs: 784-300-100-10, 266,610 parameters.

    Source: Y. LeCun et al., "Gradient-based learning applied to document recognition", 1998.
    """
    return nn.Sequential(
        nn.Flatten(), nn.Linear(784, 300), nn.ReLU(), nn.Linear(300, 100), nn.ReLU(), nn.Linear(100, classes)
    )


@architecture
def lenet5(*, classes: int = 10) -> nn.Module:
    """Build LeNet-5 as Caffe has it (20-50-500) for (1, 28, 28) inputs: 431,080 parameters.

    Source: https://github.com/BVLC/caffe/blob/master/examples/mnist/lenet.prototxt, the net that
    S. Han et al., "Deep Compression", 2016, and its successors compress.
    """
    return nn.Sequential(
        nn.Conv2d(1, 20, 5),
        nn.MaxPool2d(2),
        nn.Conv2d(20, 50, 5),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(800, 500),
        nn.ReLU(),
        nn.Linear(500, classes),
    )
