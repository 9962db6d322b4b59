"""What goes wrong, what the client is told, and that nobody else notices."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time

import httpx
import numpy as np
import psutil
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings

import kit

LIMIT = 2**20  # of the session's service


def raw_connection(service):
    host, port = service.address.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), timeout=30)


def head(service, path, *lines):
    sent = [f"POST {path} HTTP/1.1", "Host: localhost", f"Authorization: Bearer {service.key}", *lines]
    return ("\r\n".join(sent) + "\r\n\r\n").encode()


def worker_of(service):
    return psutil.Process(service._place.pid).children()[0]


def test_a_body_that_is_too_large_is_refused_unread(service):
    with raw_connection(service) as connection:
        connection.sendall(head(service, "/v2/models/slow/infer", f"Content-Length: {10**12}"))
        assert b" 413 " in connection.recv(4096)


def test_a_chunked_body_costs_no_memory(service):
    before = worker_of(service).memory_info().rss
    chunk = b"10000\r\n" + b"x" * 65536 + b"\r\n"
    with raw_connection(service) as connection:
        connection.sendall(head(service, "/v2/models/slow/infer", "Transfer-Encoding: chunked"))
        try:
            for _ in range(3200):  # 200 MB, if anyone took them
                connection.sendall(chunk)
        except OSError:
            pass  # the service hung up
        else:
            assert b" 413 " in connection.recv(4096)
    assert worker_of(service).memory_info().rss - before < 50e6


def test_a_compressed_body_is_not_unpacked(http):
    answer = http.post("/v2/models/slow/infer", content=b"\x1f\x8b", headers={"Content-Encoding": "gzip"})
    assert answer.status_code == 415


def test_a_body_that_comes_too_slowly_is_given_up_and_others_go_on(service, http):
    with raw_connection(service) as connection:
        connection.sendall(head(service, "/v2/models/slow/infer", "Content-Length: 100") + b"{")
        assert http.get("/v2").status_code == 200
        assert b" 408 " in connection.recv(4096)


def test_clients_that_hang_up_at_any_moment_leave_nothing_behind(service, http, busy):
    body = json.dumps(busy(100)).encode()
    for cut in (0, 1, len(body) // 2, len(body)):
        with raw_connection(service) as connection:
            length = f"Content-Length: {len(body)}"
            connection.sendall(head(service, "/v2/models/slow/infer", length) + body[:cut])
    assert http.post("/v2/models/slow/infer", json=busy(1)).status_code == 200
    text = http.get("/metrics").text
    assert "kit_requests_in_flight 1.0" in text  # the one that asks


def test_what_is_no_http_is_refused(service, http):
    with raw_connection(service) as connection:
        connection.sendall(b"\x16\x03\x01 hello\r\n\r\n")
        assert b"400" in connection.recv(4096)
    assert http.get("/v2").status_code == 200


def test_a_model_that_raises_does_not_spoil_the_others_in_its_batch(service):
    def body(index):
        return {"inputs": [{"name": "index", "datatype": "INT64", "shape": [1, 1], "data": [index]}]}

    async def ask():
        headers = {"Authorization": f"Bearer {service.key}"}
        async with httpx.AsyncClient(base_url=service.address, headers=headers, trust_env=False) as client:
            wanted = [7 if i == 3 else i % 5 for i in range(8)]
            sent = [client.post("/v2/models/picky/infer", json=body(index)) for index in wanted]
            return wanted, await asyncio.gather(*sent)

    for index, answer in zip(*asyncio.run(ask()), strict=True):
        if index == 7:
            assert answer.status_code == 500
            assert answer.json()["request_id"]
            assert "Gather" not in answer.text
        else:
            assert answer.json()["outputs"][0]["data"] == [float(index)]
    assert "Gather" in service._place.log.read_text()


def test_a_model_that_hangs_is_given_up_too_much_is_refused_and_the_worker_begins_again(slow_file, busy):
    async def ask(service):
        headers = {"Authorization": f"Bearer {service.key}"}
        async with httpx.AsyncClient(
            base_url=service.address, headers=headers, trust_env=False, timeout=60
        ) as client:
            sent = [client.post("/v2/models/slow/infer", json=busy(2**40)) for _ in range(64)]
            answers = asyncio.gather(*sent)
            return await client.get("/v2/health/ready"), await answers

    with kit.serve(slow_file, seconds=2, waiting=8) as service:
        worker = worker_of(service)
        ready, answers = asyncio.run(ask(service))
        assert ready.status_code == 200
        assert {answer.status_code for answer in answers} == {503, 504}
        assert all(int(a.headers["retry-after"]) >= 1 for a in answers if a.status_code == 503)
        _, alive = psutil.wait_procs([worker], timeout=60)
        assert alive == []
        with service.client() as client:
            assert client.ask("POST", "/v2/models/slow/infer", json=busy(1))["model_name"] == "slow"


def test_256_clients_at_once_each_get_their_own_answer(service, fashion, folder):
    images = fashion.test.inputs[:256].numpy()
    expected = kit.load(folder)(images)
    patient = [None] * 256

    def ask(number):
        with service.client(model="convnet-onnx") as client:
            patient[number] = client.infer(images[number : number + 1])

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(256)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    np.testing.assert_allclose(np.concatenate(patient), expected, rtol=1e-4, atol=1e-4)


def logged(service, request_id):
    """Return the line of a request; the log is written at intervals, and reading the file adds none."""
    end = time.monotonic() + 30
    while time.monotonic() < end:
        lines = (json.loads(line) for line in service._place.log.read_text().splitlines())
        found = [line for line in lines if line.get("id") == request_id]
        if found:
            return found[0]
    pytest.fail(f"no line of {request_id} in the log after 30 seconds")


def test_requests_are_logged_with_their_ids_and_never_with_what_they_carry(service, http):
    secret = "nobody-should-read-this"
    answer = http.post(
        "/predict/convnet-onnx",
        content=secret,
        headers={"X-Request-Id": "my-id-42", "Content-Type": "image/png"},
    )
    assert answer.headers["x-request-id"] == "my-id-42"
    line = logged(service, "my-id-42")
    assert "my-id-42" in http.get("/log", params={"lines": 1000}).text
    assert (line["status"], line["method"], line["key"]) == (400, "POST", "owner")
    assert secret not in service._place.log.read_text()
    assert service.key not in service._place.log.read_text()
    assert secret not in http.post("/v2", headers={"X-Request-Id": f"<{secret}>"}).headers["x-request-id"]


def test_metrics_count_what_was_answered(http):
    def count():
        text = http.get("/metrics").text
        name = 'kit_requests_total{model="same-INT8",protocol="v2",status="400"} '
        return float(next((li.split()[-1] for li in text.splitlines() if li.startswith(name)), 0)), text

    before, _ = count()
    http.post("/v2/models/same-INT8/infer", json={"inputs": []})
    after, text = count()
    assert after == before + 1
    assert 'le="0.0001"' in text
    assert 'le="60.0"' in text
    assert 'kit_queue_depth{model="same-INT8",version="1"} 0.0' in text
    assert "process_resident_memory_bytes" in text


def test_nothing_made_from_the_openapi_document_brings_a_5xx(service, http):
    schema = schemathesis.openapi.from_dict(http.get("/openapi.json").json())
    schema.config.update(base_url=service.address)
    asked, broken = [], []
    calm = settings(
        max_examples=10,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    for operation in (found.ok() for found in schema.get_all_operations()):

        @calm
        @given(case=operation.as_strategy())
        def ask(case):
            answer = case.call(headers={"Authorization": f"Bearer {service.key}"}, timeout=30)
            asked.append(answer.status_code)
            if answer.status_code >= 500:
                broken.append((case.operation.label, answer.status_code, answer.text[:200]))

        ask()
    assert broken == []
    assert len(asked) > 150
    assert set(asked) >= {200, 404, 422}
