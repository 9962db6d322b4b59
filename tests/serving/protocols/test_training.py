"""Training as a service: ordered by name, followed, cancelled, killed, gone on with, deployed."""

from __future__ import annotations

import os
import signal
import sqlite3
from contextlib import closing

import numpy as np
import psutil
import pytest
import requests
from PIL import Image

import kit
from kit.errors import ServiceError

EPOCHS = 60
ORDER = {"model_name": "lenet_300_100", "data": "fashion_mnist", "samples": 2000}


@pytest.fixture(scope="module")
def academy(tmp_path_factory):
    """A service without any model, to train with."""
    photos = tmp_path_factory.mktemp("photos")
    random = np.random.default_rng(0)
    for name, low in (("dark", 0), ("light", 128)):
        (photos / name).mkdir()
        for number in range(40):
            pixels = random.integers(low, low + 128, (20, 20), np.uint8)
            Image.fromarray(pixels).save(photos / name / f"{number}.png")
    place = tmp_path_factory.mktemp("academy") / "service"
    with kit.serve(folder=place, datasets={"photos": photos}) as service:
        yield service


def trainers(service):
    found = psutil.Process(service._place.pid).children()
    return [p for p in found if "kit.serving.trainer" in p.cmdline()]


def test_the_program_of_the_articles_runs_as_printed(academy):
    url = academy.address.replace("://", f"://:{academy.key}@") + "/train_model?wait=100"
    parameters = {
        "model_name": "lenet_300_100",
        "data": "fashion_mnist",
        "optimizer": "adam",
        "learning_rate": 0.001,
        "epochs": 1,
    }
    for way in ({"json": parameters}, {"data": parameters | {"samples": 1000}}):
        response = requests.post(url, **way, timeout=120)
        assert response.status_code == 200, response.text
        told = response.json()
        assert told["state"] == "done"
        assert told["result"]["epochs"] == 1
        assert 0.3 < told["result"]["test"]["value"] < 1


def test_a_job_is_followed_fetched_and_deployed(academy, fashion, tmp_path):
    with academy.client() as client:
        job = client.train(**ORDER, epochs=2, optimizer="sgd", learning_rate=0.05)
        events = list(job.events())
        assert [e["kind"] for e in events] == ["queued", "running", "epoch", "epoch", "done"]
        assert [e["number"] for e in events if e["kind"] == "epoch"] == [1, 2]
        with client.stream(f"/jobs/{job.id}/events?after={events[1]['id']}") as lines:
            assert next(line for line in lines if line.startswith("event:")) == "event: epoch"
        assert job.status()["result"]["accuracy"] > 0.5
        assert job.deploy("garments") == "1"
        here = kit.load(job.fetch(tmp_path / "mine"))
        image = fashion.test.inputs[:4].numpy()
        assert (client.infer(image, model="garments").argmax(1) == here(image).argmax(1)).all()


def test_a_job_may_be_cancelled_while_it_runs_or_waits(academy):
    with academy.client() as client:
        running = client.train(**ORDER, epochs=1000)
        waiting = client.train(**ORDER, epochs=1000)
        for event in running.events():
            if event["kind"] == "epoch":
                break
        waiting.cancel()
        assert waiting.status()["state"] == "cancelled"
        assert running.status()["state"] == "running"
        running.cancel()
        with pytest.raises(ServiceError, match="cancelled"):
            running.wait()
        with pytest.raises(ServiceError, match="not done"):
            running.deploy()


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"model_name": "lenet"}, "did you mean 'lenet5'"),
        ({"data": "../../etc"}, "unknown data set"),
        ({"optimizer": "adm"}, "did you mean 'adam'"),
        ({"epochs": 0}, "epochs"),
        ({"epochs": "many"}, "epochs"),
        ({"learning_rate": -1}, "learning_rate"),
        ({"learning_rate": "nan"}, "learning_rate"),
        ({"code": "import os"}, "code"),
        ({"model_name": None}, "model_name"),
    ],
)
def test_an_order_that_makes_no_sense_is_refused_at_once(academy, changed, said):
    with academy.client() as client, pytest.raises(ServiceError, match=said) as caught:
        client.ask("POST", "/train_model", json=ORDER | changed)
    assert caught.value.status == 422


def test_what_fails_says_why_and_the_next_job_goes_on(academy):
    with academy.client() as client:
        job = client.train("lenet5", "photos", epochs=1)  # which takes 28×28 and nothing else
        with pytest.raises(ServiceError, match="failed") as caught:
            job.wait()
        assert "console" not in str(caught.value)
        assert client.train("mobilenet", "photos", epochs=1).wait().status()["result"]["epochs"] == 1


def test_a_job_survives_the_death_of_everyone_and_runs_once(folder, tmp_path):
    """Killed: the trainer, then supervisor with worker. The weights are those of a run nobody disturbed."""
    place = tmp_path / "service"
    service = kit.serve(folder, folder=place)
    with service.client() as client:
        job = client.train(**ORDER, epochs=EPOCHS, seed=3)
        with closing(job.events()) as events:
            kinds = (event["kind"] for event in events)
            assert "epoch" in kinds  # that is: go on until there is one
            [trainer] = trainers(service)
            trainer.send_signal(signal.SIGKILL)
            assert "queued" in kinds
            assert "epoch" in kinds
    processes = psutil.Process(service._place.pid).children()
    os.kill(service._place.pid, signal.SIGKILL)
    psutil.wait_procs(processes, timeout=15)
    assert not any(p.is_running() and p.status() != psutil.STATUS_ZOMBIE for p in processes)
    service._process.wait()
    with kit.serve(folder=place) as again, again.client() as client:
        assert again.models == {"convnet-onnx": "1"}
        [found] = client.ask("GET", "/jobs")
        assert found["state"] in {"queued", "running"}
        while client.job(job.id).status()["state"] in {"queued", "running"}:
            assert len(trainers(again)) <= 1
        assert client.job(job.id).status()["state"] == "done"
        whole = kit.load(place / "jobs" / job.id / "model")
    with closing(sqlite3.connect(place / "jobs" / "jobs.db")) as database:
        [begun] = database.execute("SELECT begun FROM jobs").fetchone()
    assert begun == 3
    undisturbed = _alone(seed=3)
    for key, tensor in undisturbed.module.state_dict().items():
        assert tensor.equal(whole.module.state_dict()[key])


def _alone(seed):
    import torch

    data = kit.data.fashion_mnist().subset(2000)
    torch.manual_seed(seed)
    plain = {"precision": "fp32", "layout": "contiguous", "progress": False}
    return kit.train(kit.models.lenet_300_100(classes=10), data, epochs=EPOCHS, seed=seed, **plain)
