"""The service against a plain FastAPI route: requests a second and latency, interleaved in random order.

python tests/benchmarks/serving.py [seconds a point [rounds]]

All answer with one ONNX file and one ONNX Runtime thread a batch. The service checks keys and tensors,
batches, counts and logs. The routes do not: one takes a list of numbers, one the binary request that the
service takes; both compute in FastAPI's thread pool. The load is a closed loop from a process of its own.
"""

from __future__ import annotations

import json
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

import kit
from kit.serving.load import send

CLIENTS = (1, 8, 32)
PLAIN = """
import json, socket, sys
import numpy as np, onnxruntime, uvicorn
from fastapi import FastAPI, Request, Response
from fastapi.concurrency import run_in_threadpool
from pydantic import BaseModel
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
session = onnxruntime.InferenceSession(sys.argv[1], options)
shape = [1, *session.get_inputs()[0].shape[1:]]
app = FastAPI()
class Sample(BaseModel):
    inputs: list[float]
@app.post("/predict")
def predict(sample: Sample):
    array = np.array(sample.inputs, np.float32).reshape(shape)
    return {"outputs": session.run(None, {"input": array})[0].tolist()}
@app.post("/v2/models/{name}/infer")
async def infer(name: str, request: Request):
    body = await request.body()
    length = int(request.headers["inference-header-content-length"])
    [entry] = json.loads(body[:length])["inputs"]
    array = np.frombuffer(body[length:], np.float32).reshape(entry["shape"])
    [found] = await run_in_threadpool(session.run, None, {"input": array})
    told = {"name": "output", "datatype": "FP32", "shape": found.shape}
    told["parameters"] = {"binary_data_size": found.nbytes}
    head = json.dumps({"model_name": name, "outputs": [told]}).encode()
    headers = {"Inference-Header-Content-Length": str(len(head))}
    return Response(head + found.tobytes(), headers=headers)
listening = socket.socket()
listening.bind(("127.0.0.1", 0))
listening.listen(2048)
print(listening.getsockname()[1], flush=True)
uvicorn.Server(uvicorn.Config(app, log_level="error", access_log=False)).run(sockets=[listening])
"""


def requests_of(service, port, shape):
    """Return one raw HTTP request for each way to ask."""
    sample = np.random.default_rng(0).random((1, *shape), dtype=np.float32)
    binary, own, _ = service.request(sample)
    values = sample.ravel().tolist()
    tensor = {"name": "input", "shape": [1, *shape], "datatype": "FP32", "data": values}
    path, key = f"/v2/models/{next(iter(service.models))}/infer", f"Authorization: Bearer {service.key}\r\n"
    return {
        "service, binary": (own, binary),
        "service, JSON": (own, _post(path, json.dumps({"inputs": [tensor]}).encode(), key)),
        "FastAPI, binary": (port, binary),
        "FastAPI, JSON": (port, _post("/predict", json.dumps({"inputs": values}).encode(), "")),
    }


def _post(path, body, headers):
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n{headers}"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


def measure(ways, *, seconds, rounds):
    """Return requests a second, p50 and p99 of each way and number of clients: one of each a round."""
    points = [(name, clients) for name in ways for clients in CLIENTS]
    found = {point: [] for point in points}
    for round_ in range(rounds):
        for name, clients in random.Random(round_).sample(points, len(points)):
            port, request = ways[name]
            load = send(request, port, kind="closed", offered=clients, seconds=seconds)
            assert not load.failed
            found[name, clients].append((load.rate, load.percentile(50), load.percentile(99)))
    return {
        point: tuple(statistics.median(column) for column in zip(*rows, strict=True))
        for point, rows in found.items()
    }


def heavy():
    """Make a net that takes a few milliseconds."""
    torch.manual_seed(0)
    return kit.models.convnet(channels=3, widths=(64, 128, 256))


def main(seconds=1.5, rounds=2):
    print(f"{kit.device.describe()}, load {kit.device.load():.1f} a core")
    generator = torch.Generator().manual_seed(0)
    print("| model | clients | | requests/s | × FastAPI | p50 ms | p99 ms |\n|---|---|---|---|---|---|---|")
    for name, module, shape in (
        ("small", kit.models.convnet(widths=(4, 8, 16)), (1, 28, 28)),
        ("large", heavy(), (3, 64, 64)),
    ):
        data = kit.data.from_arrays(torch.rand(40, *shape, generator=generator), torch.arange(40) % 10)
        with tempfile.TemporaryDirectory() as room:
            folder = kit.save(
                kit.export(kit.Variant(module, name, data.signature), data=data), Path(room) / name
            )
            file = folder / "model.onnx"
            with kit.open(folder, threads=1) as session:
                begin = time.perf_counter()
                for _ in range(50):
                    session(np.zeros((1, *shape), np.float32))
                print(f"| {name}: {(time.perf_counter() - begin) * 20:.3f} ms in process | | | | | | |")
            plain = subprocess.Popen([sys.executable, "-c", PLAIN, file], stdout=subprocess.PIPE, text=True)
            try:
                with kit.serve(folder) as service:
                    ways = requests_of(service, int(plain.stdout.readline()), shape)
                    found = measure(ways, seconds=float(seconds), rounds=int(rounds))
            finally:
                plain.terminate()
                plain.wait()
        for clients in CLIENTS:
            for way in ways:
                usual = found[f"FastAPI, {way.split()[-1]}", clients][0]
                rate, p50, p99 = found[way, clients]
                print(
                    f"| {name} | {clients} | {way} | {rate:,.0f} | {rate / usual:.2f} |",
                    f"{p50:.2f} | {p99:.2f} |",
                    flush=True,
                )


if __name__ == "__main__":
    main(*sys.argv[1:])
