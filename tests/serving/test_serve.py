"""A service from start to stop: found again, changed while requests flow, begun again, gone."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import psutil
import pytest

import kit
from kit.errors import ArgumentError, BusyError, DataError, ModelError, ServiceError


def family(service):
    """Every process of a service."""
    supervisor = psutil.Process(service._place.pid)
    return [supervisor, *supervisor.children(recursive=True)]


def test_answers_equal_those_in_process(service, folder, fashion):
    images = fashion.test.inputs[:50].numpy()
    expected = kit.load(folder)(images)
    with service.client() as client:
        np.testing.assert_allclose(client.infer(images), expected, rtol=1e-5, atol=1e-5)
        one = client.predict(fashion.test[0])
        many = client.predict(images)
    names = fashion.signature.classes
    assert [found.label for found in many] == [names[i] for i in expected.argmax(1)]
    assert one.label == many[0].label
    assert sum(one.probabilities.values()) == pytest.approx(1, abs=1e-4)


def test_a_folder_of_another_format_is_served(trained, fashion, tmp_path):
    folder = kit.save(kit.convert(trained, "openvino", data=fashion.subset(60, 20, 20)), tmp_path / "ir")
    images = fashion.test.inputs[:20].numpy()
    with kit.serve(folder) as service, service.client() as client:
        np.testing.assert_allclose(client.infer(images), trained(images), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("sample", "said"),
    [
        ("no-such.png", "expected the path of a picture, got 'no-such.png': No such file"),
        (object(), "got object"),
        (np.full((1, 28, 28), np.nan), "finite numbers"),
    ],
)
def test_what_is_no_sample_is_refused_before_it_travels(service, sample, said):
    with service.client() as client, pytest.raises(DataError, match=said):
        client.predict(sample)


def test_it_is_found_again_and_stops_with_all_it_started(folder, tmp_path):
    place = tmp_path / "service"
    started = kit.serve(folder, folder=place)
    processes = family(started)
    found = kit.find_service(place)
    assert found.health() == "ready"
    assert found.models == {"convnet-onnx": "1"}
    assert found.key == started.key
    with pytest.raises(BusyError, match="already"):
        kit.serve(folder, folder=place)
    found.stop()
    assert started.health() == "stopped"
    psutil.wait_procs(processes, timeout=10)
    assert not any(p.is_running() and p.status() != psutil.STATUS_ZOMBIE for p in processes)
    with pytest.raises(ModelError, match="no service runs"):
        kit.find_service(place)
    assert started.key not in (place / "keys.json").read_text()
    assert not (place / "header").exists()


def test_versions_change_while_requests_flow(folder, trained, fashion):
    image = fashion.test.inputs[:1].numpy()
    lost, seen, go = [], set(), threading.Event()

    def flow():
        with service.client() as client:
            while not go.is_set():
                try:
                    told = client.ask("POST", "/predict/convnet-onnx", json={"inputs": image.tolist()})
                    seen.add(told["version"])
                except ServiceError as error:
                    lost.append(error)

    with kit.serve(folder) as service:
        threads = [threading.Thread(target=flow) for _ in range(4)]
        for thread in threads:
            thread.start()
        assert service.load(trained, name="convnet-onnx") == "2"
        assert service.models == {"convnet-onnx": "2"}
        assert service.roll_back() == "1"
        service.default("convnet-onnx", "2")
        service.unload("convnet-onnx", "2")
        assert service.models == {"convnet-onnx": "1"}
        service.load(folder, name="other")
        service.unload("other")
        go.set()
        for thread in threads:
            thread.join()
        assert {entry["version"] for entry in service.client().index()} == {"1"}
    assert lost == []
    assert seen == {"1", "2"}


def test_a_worker_that_is_killed_comes_back_and_no_answer_is_lost(folder, fashion):
    image = fashion.test.inputs[:1].numpy()
    with kit.serve(folder) as service, service.client() as client:
        service.load(folder, name="second")
        expected = client.infer(image)
        [worker] = psutil.Process(service._place.pid).children()
        worker.send_signal(signal.SIGKILL)
        np.testing.assert_array_equal(client.infer(image), expected)
        assert service.models == {"convnet-onnx": "1", "second": "1"}
        assert client.infer(image, model="second").shape == expected.shape
        assert psutil.Process(service._place.pid).children() != [worker]


def test_a_supervisor_that_is_killed_leaves_no_orphan(folder):
    service = kit.serve(folder)
    processes = family(service)
    os.kill(service._place.pid, signal.SIGKILL)
    service._process.wait()
    _, alive = psutil.wait_procs(processes[1:], timeout=15)
    assert alive == []
    assert service.health() == "stopped"
    service.stop()


def test_what_cannot_begin_says_why_and_leaves_nothing(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(BusyError, match="port=0 takes a free one"):
            kit.serve(folder, port=taken.getsockname()[1])
    with pytest.raises(ModelError, match="no model folder and no model file"):
        kit.serve(tmp_path / "nothing")
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"no onnx")
    with pytest.raises(ModelError, match=r"could not begin: .*no ONNX file"):
        kit.serve(broken)
    with pytest.raises(ArgumentError, match=r"without a key only host='127.0.0.1'"):
        kit.serve(folder, key=None, host="0.0.0.0")
    with pytest.raises(ArgumentError, match="20 printable"):
        kit.serve(folder, key="short")
    assert list((tmp_path / "cache" / "maaskit" / "services").iterdir()) == []


def test_it_shows_a_line_to_copy_without_its_key(service):
    for shown in (repr(service), service._repr_html_()):
        assert service.address in shown
        assert "curl" in shown
        assert service.key not in shown
    assert Path(service._place.header).stat().st_mode & 0o077 == 0


def test_from_a_shell(folder, tmp_path):
    place = tmp_path / "service"
    command = [sys.executable, "-m", "kit", "serve", folder, "--port", "0", "--folder", place]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as shell:
        assert "convnet-onnx (version 1)" in shell.stdout.readline()
        assert kit.find_service(place).health() == "ready"
        shell.send_signal(signal.SIGTERM)
        assert shell.wait(30) == 0
    with pytest.raises(ModelError, match="no service runs"):
        kit.find_service(place)
