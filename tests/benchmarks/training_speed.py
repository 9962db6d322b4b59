"""Training samples a second: kit.train, a plain DataLoader loop, and four frameworks, interleaved in one run.

Each arm trains a fresh copy of one net with Adam on the same images, in random order within a round; ratios
are taken round by round against the plain loop, which runs twice as a control (its second row should be
1.00). Frameworks run at their defaults, and again ("tuned") with the layout and precision that kit chose and
with their logging, checkpoints and progress bars off.

    python tests/benchmarks/training_speed.py [--rounds 7] [--threads 2] [--nets convnet,784-128-10,lenet]
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import io
import logging
import os
import random
import tempfile
import time
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

os.environ["KERAS_BACKEND"] = "torch"  # read when keras is imported

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

import kit
from kit.errors import require
from kit.statistics import bootstrap, wilson
from kit.training import fit

if TYPE_CHECKING:
    from collections.abc import Callable

BATCH = 128
CPU = torch.device("cpu")


@dataclass(frozen=True)
class Net:
    """A net, as PyTorch and as Keras have it, and how many images an arm trains on (seconds, not minutes)."""

    name: str
    make: Callable[[], nn.Module]
    keras: Callable[[], object]
    samples: int


@dataclass(frozen=True)
class How:
    """The layout and precision of an arm."""

    channels_last: bool = False
    bf16: bool = False

    def place(self, net: nn.Module) -> nn.Module:
        return net.to(memory_format=torch.channels_last) if self.channels_last else net

    def arrange(self, x: torch.Tensor) -> torch.Tensor:
        return x.contiguous(memory_format=torch.channels_last) if self.channels_last else x

    def autocast(self) -> torch.autocast:
        return torch.autocast("cpu", torch.bfloat16, enabled=self.bf16)


def plain(net: nn.Module, data: kit.data.Dataset) -> None:
    """Train as most tutorials do."""
    loader = DataLoader(TensorDataset(data.train.inputs, data.train.targets), batch_size=BATCH, shuffle=True)
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
    total = 0.0
    for x, y in loader:
        optimizer.zero_grad()
        loss = F.cross_entropy(net(x), y)
        loss.backward()
        optimizer.step()
        total += loss.item()


def ours(net: nn.Module, data: kit.data.Dataset, precision: str, layout: str) -> None:
    """Train with what `kit.train` is made of; the choice of precision and layout was made before."""
    fit(
        net,
        data,
        epochs=1,
        schedule="constant",
        lr=1e-3,
        batch_size=BATCH,
        precision=precision,
        layout=layout,
    )


def lightning(net: nn.Module, data: kit.data.Dataset, how: How | None) -> None:
    from lightning import LightningModule, Trainer

    given = how or How()

    class Task(LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.net = given.place(net)

        def training_step(self, batch: list[torch.Tensor], _index: int) -> torch.Tensor:
            return F.cross_entropy(self.net(given.arrange(batch[0])), batch[1])

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.Adam(self.parameters(), lr=1e-3)

    off = dict.fromkeys(
        ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False
    )
    settings = {} if how is None else {**off, "precision": "bf16-mixed" if how.bf16 else "32-true"}
    loader = DataLoader(TensorDataset(data.train.inputs, data.train.targets), batch_size=BATCH, shuffle=True)
    with tempfile.TemporaryDirectory() as folder:
        Trainer(max_epochs=1, accelerator="cpu", default_root_dir=folder, **settings).fit(Task(), loader)


def skorch(net: nn.Module, data: kit.data.Dataset, how: How | None) -> None:
    from skorch import NeuralNetClassifier

    given = how or How()

    class Classifier(NeuralNetClassifier):
        def infer(self, x: torch.Tensor, **_: object) -> torch.Tensor:
            with given.autocast():
                return self.module_(given.arrange(x)).float()

    base = NeuralNetClassifier if how is None else Classifier
    made = base(
        given.place(net),
        criterion=nn.CrossEntropyLoss,
        optimizer=torch.optim.Adam,
        lr=1e-3,
        max_epochs=1,
        batch_size=BATCH,
        train_split=None,  # its default would train on four fifths only
        iterator_train__shuffle=True,
        **({} if how is None else {"verbose": 0, "callbacks": "disable"}),
    )
    made.fit(data.train.inputs, data.train.targets)


def accelerate(net: nn.Module, data: kit.data.Dataset, how: How | None) -> None:
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState

    given = how or How()
    AcceleratorState._reset_state(reset_partial_state=True)  # it refuses a second precision in one process
    engine = Accelerator(cpu=True, mixed_precision="bf16" if given.bf16 else "no")
    loader = DataLoader(TensorDataset(data.train.inputs, data.train.targets), batch_size=BATCH, shuffle=True)
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
    net, optimizer, loader = engine.prepare(given.place(net), optimizer, loader)
    for x, y in loader:
        optimizer.zero_grad()
        loss = F.cross_entropy(net(given.arrange(x)), y)
        engine.backward(loss)
        optimizer.step()


def keras(make: Callable[[], object], data: kit.data.Dataset, how: How | None) -> None:
    import keras as framework

    framework.mixed_precision.set_global_policy("mixed_bfloat16" if how and how.bf16 else "float32")
    model = make()
    model.compile(
        optimizer=framework.optimizers.Adam(1e-3),
        loss=framework.losses.SparseCategoricalCrossentropy(from_logits=True),
        **({} if how is None else {"jit_compile": False}),
    )
    images = data.train.inputs.permute(0, 2, 3, 1).numpy()  # Keras's own order
    verbose = "auto" if how is None else 0
    model.fit(images, data.train.targets.numpy(), batch_size=BATCH, epochs=1, shuffle=True, verbose=verbose)


def keras_dense(*widths: int) -> Callable[[], object]:
    """Return a maker of the Keras twin of a dense net."""

    def make() -> object:
        from keras import Input, Sequential, layers

        hidden = [layers.Dense(width, activation="relu") for width in widths]
        return Sequential([Input((28, 28, 1)), layers.Flatten(), *hidden, layers.Dense(10)])

    return make


def keras_convnet() -> object:
    """Return the Keras twin of `kit.models.convnet()`."""
    from keras import Input, Model, layers

    def step(x: object, width: int, stride: int) -> object:
        x = layers.Conv2D(width, 3, strides=stride, padding="same", use_bias=False)(x)
        return layers.ReLU()(layers.BatchNormalization(momentum=0.9, epsilon=1e-5)(x))

    def residual(x: object, width: int) -> object:
        inner = layers.Conv2D(width, 3, padding="same", use_bias=False)(step(x, width, 1))
        inner = layers.BatchNormalization(momentum=0.9, epsilon=1e-5)(inner)
        return layers.ReLU()(layers.Add()([x, inner]))

    images = Input((28, 28, 1))
    x = residual(step(step(images, 16, 1), 32, 2), 32)
    x = residual(step(x, 64, 2), 64)
    return Model(images, layers.Dense(10)(layers.GlobalAveragePooling2D()(x)))


def dense(*widths: int) -> Callable[[], nn.Module]:
    """Return a maker of a dense net with ReLU between."""

    def make() -> nn.Module:
        pairs = zip((784, *widths), (*widths, 10), strict=True)
        layers = [layer for a, b in pairs for layer in (nn.Linear(a, b), nn.ReLU())]
        return nn.Sequential(nn.Flatten(), *layers[:-1])

    return make


NETS = (
    Net("784-128-10", dense(128), keras_dense(128), 50_000),
    Net("lenet", kit.models.lenet_300_100, keras_dense(300, 100), 50_000),
    Net("convnet", kit.models.convnet, keras_convnet, 10_000),
)


def arms(net: Net, data: kit.data.Dataset, chosen: tuple[str, str]) -> dict[str, Callable[[nn.Module], None]]:
    """Return the arms by name; each takes a fresh net."""
    images = net.name == "convnet"
    tuned = How(channels_last=chosen[1] == "channels_last", bf16=chosen[0] == "bf16")
    found: dict[str, Callable[[nn.Module], None]] = {
        "plain loop": lambda m: plain(m, data),
        "plain loop again": lambda m: plain(m, data),
        "kit, fp32": lambda m: ours(m, data, "fp32", "channels_last" if images else "contiguous"),
        f"kit, {chosen[0]} (auto)": lambda m: ours(m, data, *chosen),
    }
    for train in (lightning, skorch, accelerate):
        found[train.__name__] = lambda m, train=train: train(m, data, None)
        found[f"{train.__name__}, tuned"] = lambda m, train=train: train(m, data, tuned)
    found["keras"] = lambda _: keras(net.keras, data, None)
    found["keras, tuned"] = lambda _: keras(net.keras, data, tuned)
    return found


@contextlib.contextmanager
def silence():
    """Let the frameworks print where nobody reads: writing to a terminal is not what is measured."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        yield


def measure(net: Net, data: kit.data.Dataset, rounds: int, rng: random.Random) -> None:
    """Run all arms of one net and print the table."""
    part = data.subset(net.samples, 10, 10)
    torch.manual_seed(0)
    start = net.make()
    execution = kit.training.execution.choose(
        start, part.train.inputs[:BATCH], CPU, precision="auto", layout="auto", steps=10**6
    )
    chosen = execution.precision, execution.layout
    runs = arms(net, part, chosen)
    seconds = {name: {"wall": [], "cpu": []} for name in runs}
    for turn in range(rounds + 1):
        for name in rng.sample(list(runs), len(runs)):
            fresh = copy.deepcopy(start)
            with silence():
                wall, cpu = time.perf_counter(), time.process_time()
                runs[name](fresh)
                wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
            if turn:  # the first round imports and warms up
                seconds[name]["wall"].append(wall)
                seconds[name]["cpu"].append(cpu)
    print(
        f"\n{net.name}: {net.samples:,} images, batch {BATCH}, {rounds} rounds; kit chose: {execution.reason}"
    )
    print(f"{'':22}{'samples/s':>12}   {'× plain loop, wall [95 %]':>28}   {'× plain loop, CPU time':>25}")
    base = seconds["plain loop"]
    for name, own in seconds.items():
        rate = net.samples / np.median(own["wall"])
        ratios = {clock: bootstrap(np.array(base[clock]) / np.array(own[clock])) for clock in ("wall", "cpu")}
        print(f"{name:22}{rate:>12,.0f}   {ratios['wall']:>28.2f}   {ratios['cpu']:>25.2f}", flush=True)


def accuracy_under_bf16(data: kit.data.Dataset, epochs: int) -> None:
    """Print validation accuracy of the convnet after the same run in both precisions."""
    torch.manual_seed(0)
    start = kit.models.convnet()
    for precision in ("fp32", "bf16"):
        best = kit.train(start, data, epochs=epochs, lr=5e-3, precision=precision).report.best
        n = len(data.valid)
        accuracy = wilson(round(best.valid_metric * n), n)
        print(
            f"convnet, {epochs} epochs in {precision}: validation accuracy {accuracy:.1%} (n = {n:,})",
            flush=True,
        )


def main() -> None:
    """Measure every net and print a table of each."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=kit.device.threads())
    parser.add_argument("--nets", default=",".join(net.name for net in NETS))
    parser.add_argument("--epochs", type=int, default=3, help="of the comparison of accuracies")
    given = parser.parse_args()
    for module in ("lightning", "skorch", "accelerate", "keras"):
        require(module, "bench")
    warnings.filterwarnings("ignore")  # the frameworks' advice on workers and checkpoints
    for name in ("lightning", "lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
    torch.set_num_threads(given.threads)
    print(
        f"{kit.device.describe()}, {given.threads} threads, load {kit.device.load():.2f} a core at the start"
    )
    if kit.device.load() > 0.5:
        print("This machine is busy: read the ratios of CPU time, taken with --threads 1.")
    data = kit.data.fashion_mnist()
    rng = random.Random(0)
    for net in NETS:
        if net.name in given.nets.split(","):
            measure(net, data, given.rounds, rng)
    print()
    accuracy_under_bf16(data, given.epochs)


if __name__ == "__main__":
    main()
