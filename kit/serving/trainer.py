"""The process that works off one job: it goes on from its checkpoint and may be killed at any moment."""

from __future__ import annotations

import argparse
import fcntl
import inspect
import os
import sys
import threading
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from kit import data as bundled
from kit.errors import KitError, unknown
from kit.measurement.evaluate import evaluate
from kit.models import Architecture, build, factories
from kit.runtime.folder import save
from kit.serving.jobs import BUNDLED, Jobs, Order
from kit.serving.place import Place
from kit.training import Control, train

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import nn

    from kit.data import Dataset
    from kit.training import Epoch

_CHECKPOINT = 5.0  # seconds between two
_LOOK = 0.3  # seconds between two looks whether the job was cancelled
_NICE = 10  # requests come first


def main() -> int:
    """Train what a job asks for."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("job")
    parser.add_argument(
        "--lifeline", type=int, required=True, help="descriptor that closes with the supervisor"
    )
    options = parser.parse_args()
    threading.Thread(target=_follow, args=(options.lifeline,), daemon=True).start()
    os.nice(_NICE)
    place = Place(options.folder)
    jobs, folder = Jobs(place.jobs), place.jobs / options.job
    folder.mkdir(exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # a process before this one may still be dying
        _work(jobs, options.job, folder, place.settings().datasets)
    return 0


def _work(jobs: Jobs, identity: str, folder: Path, datasets: Mapping[str, str]) -> None:
    """Train, save, evaluate; whatever happens, the job says so in the end."""
    control = Control()
    try:
        result = _train(jobs, identity, folder, datasets, control)
    except KitError as error:
        jobs.move(identity, "running", "failed", message=str(error))
    except Exception:
        jobs.move(identity, "running", "failed", message="the training failed; the console tells why")
        raise
    else:
        state = "cancelled" if control.stopping else "done"
        jobs.move(identity, "running", state, result=result)


def _train(
    jobs: Jobs, identity: str, folder: Path, datasets: Mapping[str, str], control: Control
) -> dict[str, Any]:
    order = jobs.order(identity)
    data = _data(order, datasets)
    torch.manual_seed(order.seed)
    begun = [time.monotonic()]

    def look(_progress: object) -> None:
        if time.monotonic() - begun[0] > _LOOK:
            begun[0] = time.monotonic()
            if jobs.is_cancelled(identity):
                control.stop()

    def tell(epoch: Epoch) -> None:
        jobs.note(identity, "epoch", asdict(epoch))

    variant = train(
        _model(order, data),
        data,
        epochs=order.epochs,
        optimizer=order.optimizer,
        lr=order.learning_rate,
        batch_size=order.batch_size,
        seed=order.seed,
        precision="fp32",  # what a probe finds fastest may differ after a restart
        layout="contiguous",
        checkpoint=folder / "checkpoint.pt",
        checkpoint_every=_CHECKPOINT,
        on_epoch=tell,
        on_step=look,
        progress=False,
        control=control,
    )
    if control.stopping:
        return {}
    save(variant, folder / "model")
    report: Any = variant.report
    result = {"epochs": len(report.epochs), report.metric: report.best.valid_metric}
    return result | {"test": evaluate(variant, data).score.to_dict()}


def _data(order: Order, datasets: Mapping[str, str]) -> Dataset:
    if order.data in datasets:
        data = bundled.from_folder(datasets[order.data])
    elif order.data in BUNDLED:
        data = getattr(bundled, order.data)()
    else:
        raise unknown("data set", order.data, [*BUNDLED, *datasets])
    return data if order.samples is None else data.subset(min(order.samples, len(data.train)))


def _model(order: Order, data: Dataset) -> nn.Module:
    """Build a net whose input and output fit the data."""
    known = {"classes": data.signature.outputs, "channels": data.signature.shape[0]}
    made = factories()
    if order.model_name not in made:
        raise unknown("model", order.model_name, made)
    taken = inspect.signature(made[order.model_name]).parameters
    return build(Architecture(order.model_name, {k: v for k, v in known.items() if k in taken}))


def _follow(lifeline: int) -> None:
    """Die with the supervisor: the checkpoint stays, and another supervisor goes on from there."""
    os.read(lifeline, 1)
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main())
