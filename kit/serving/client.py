"""The client: samples, files and pictures in; labels and probabilities out."""

from __future__ import annotations

import io
import ssl
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from kit.errors import ArgumentError, ServiceError, require
from kit.serving.remote_job import RemoteJob

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import torch
    from numpy.typing import NDArray

_STEP = 0.2  # seconds between two attempts


@dataclass(frozen=True)
class Prediction:
    """What a model says of one sample.

    Attributes:
        label: the likeliest class; None for regression.
        probability: its probability.
        probabilities: of every class, the likeliest first.
        values: for regression.
    """

    label: str | None = None
    probability: float | None = None
    probabilities: Mapping[str, float] = field(default_factory=dict)
    values: tuple[float, ...] = ()

    def __str__(self) -> str:
        return f"{self.label} ({self.probability:.1%})" if self.label is not None else f"{self.values}"


class Client:
    """Calls a service over a connection that stays open; any thread may use it.

    Args:
        address: such as "http://127.0.0.1:8000".
        key: if the service asks for one.
        model: which one to ask when a call does not say.
        certificate: the service's own, if it is not one that this machine trusts anyway.
        seconds: an answer may take.
        patience: seconds to go on trying when the connection breaks (the worker begins again) or too
            much waits already (503). Asking twice does no harm: inference changes nothing.

    Example: `Client("http://127.0.0.1:8000", key).predict("shoe.png")`
    """

    def __init__(
        self,
        address: str,
        key: str | None = None,
        *,
        model: str | None = None,
        certificate: str | Path | None = None,
        seconds: float = 60.0,
        patience: float = 15.0,
    ) -> None:
        httpx = require("httpx", "serve")
        self.address, self._model, self._patience = address.rstrip("/"), model, patience
        trust: Any = ssl.create_default_context(cafile=str(certificate)) if certificate else True
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._http = httpx.Client(
            base_url=self.address, headers=headers, verify=trust, timeout=seconds, trust_env=False
        )
        self._broken = httpx.TransportError
        self._dimensions: dict[str, int] = {}  # of one sample of each model

    def predict(
        self, sample: Any, *, model: str | None = None, version: str | None = None
    ) -> Prediction | list[Prediction]:
        """Ask about one sample, or several of one shape.

        Args:
            sample: a picture (path, bytes or PIL image), or what the model takes: a tensor or array, alone
                or several in a batch, or a pair (sample, target) as a data set gives it.
            model: which one; by default the service's only or first.
            version: by default the default.

        Returns:
            A prediction, or for a batch a list of them.

        Raises:
            ServiceError: with the service's own words.
        """
        name = model or self._first()
        path = f"/predict/{name}" + (f"?version={version}" if version else "")
        picture = _picture(sample)
        if picture is not None:
            told = self.ask(
                "POST", path, content=picture, headers={"Content-Type": "application/octet-stream"}
            )
            return _predictions(told)[0]
        array = np.asarray(sample[0] if isinstance(sample, tuple) else sample, np.float32)
        if name not in self._dimensions:
            self._dimensions[name] = len(self.metadata(name)["inputs"][0]["shape"]) - 1
        found = _predictions(self.ask("POST", path, json={"inputs": array.tolist()}))
        return found[0] if array.ndim == self._dimensions[name] else found

    def infer(
        self, inputs: NDArray[Any] | torch.Tensor, *, model: str | None = None, version: str | None = None
    ) -> NDArray[np.float32]:
        """Run a model as it is: (N, *shape) float32 in, (N, outputs) float32 out, in binary both ways."""
        import orjson

        head, content = binary(inputs)
        where = f"/versions/{version}" if version else ""
        reply = self.send(
            "POST",
            f"/v2/models/{model or self._first()}{where}/infer",
            content=content,
            headers={"Inference-Header-Content-Length": str(head)},
        )
        length = int(reply.headers["inference-header-content-length"])
        [told] = orjson.loads(reply.content[:length])["outputs"]
        return np.frombuffer(reply.content[length:], np.float32).reshape(told["shape"])

    def metadata(self, model: str | None = None) -> dict[str, Any]:
        """Return what a model takes and gives."""
        found: dict[str, Any] = self.ask("GET", f"/v2/models/{model or self._first()}")
        return found

    def index(self) -> list[dict[str, Any]]:
        """Return every version of every model (scope manage)."""
        found: list[dict[str, Any]] = self.ask("POST", "/v2/repository/index")
        return found

    def train(self, model_name: str, data: str, *, wait: float = 0, **settings: Any) -> RemoteJob:
        """Order a training (scope train).

        Args:
            model_name: a factory of `kit.models`.
            data: "fashion_mnist", "mnist" or a data set that the service was started with.
            wait: seconds to wait for the end.
            settings: `optimizer`, `learning_rate`, `epochs`, `batch_size`, `seed`, `samples`.

        Example: `client.train("convnet", "fashion_mnist", epochs=3).wait().deploy()`
        """
        order = {"model_name": model_name, "data": data, **settings}
        job = RemoteJob(self, self.ask("POST", "/train_model", json=order)["job"])
        return job.wait(wait) if wait else job

    def job(self, identity: str) -> RemoteJob:
        """Return a training job by its id."""
        return RemoteJob(self, identity)

    def ask(self, method: str, path: str, **content: Any) -> Any:
        """Send a request and return the JSON of its answer."""
        return self.send(method, path, **content).json()

    def send(self, method: str, path: str, **content: Any) -> Any:
        """Send a request; return the answer (an `httpx.Response`) if it is a good one.

        Raises:
            ServiceError: otherwise, or when there is none.
        """
        end = time.monotonic() + self._patience
        while True:
            try:
                reply = self._http.request(method, path, **content)
            except self._broken as error:
                if time.monotonic() >= end:
                    raise ServiceError(
                        f"no answer from {self.address}: {error or type(error).__name__}"
                    ) from None
                time.sleep(_STEP)
                continue
            if reply.status_code == 503 and time.monotonic() < end and "retry-after" in reply.headers:
                time.sleep(min(float(reply.headers["retry-after"]), end - time.monotonic()))
                continue
            if reply.is_success:
                return reply
            raise _as_error(reply)

    @contextmanager
    def stream(self, path: str) -> Iterator[Iterator[str]]:
        """Read an answer line by line, as it comes."""
        with self._http.stream("GET", path, timeout=None) as reply:
            if not reply.is_success:
                reply.read()
                raise _as_error(reply)
            yield reply.iter_lines()

    def close(self) -> None:
        """Close the connection."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _first(self) -> str:
        if self._model is None:
            raise ArgumentError("say which model: client.predict(sample, model=…)")
        return self._model


def binary(inputs: NDArray[Any] | torch.Tensor) -> tuple[int, bytes]:
    """Return a request of the protocol v2 in binary: the length of its JSON part, and all of it."""
    import orjson

    array = np.ascontiguousarray(inputs, np.float32)
    entry = {
        "name": "input",
        "shape": array.shape,
        "datatype": "FP32",
        "parameters": {"binary_data_size": array.nbytes},
    }
    head = orjson.dumps({"inputs": [entry], "parameters": {"binary_data_output": True}})
    return len(head), head + array.tobytes()


def _as_error(reply: Any) -> ServiceError:
    try:
        told = reply.json()
    except ValueError:
        told = {}
    message = f"{reply.status_code}: {told.get('error', reply.reason_phrase)}"
    return ServiceError(message, reply.status_code, told.get("request_id", ""))


def _predictions(told: dict[str, Any]) -> list[Prediction]:
    return [
        Prediction(
            row.get("label"),
            row.get("probability"),
            row.get("probabilities", {}),
            tuple(row.get("values", ())),
        )
        for row in told["predictions"]
    ]


def _picture(sample: Any) -> bytes | None:
    """Return the bytes of a picture, or None if it is something else."""
    if isinstance(sample, bytes):
        return sample
    if isinstance(sample, (str, Path)):
        return Path(sample).read_bytes()
    if hasattr(sample, "save") and hasattr(sample, "mode"):  # a PIL image
        buffer = io.BytesIO()
        sample.save(buffer, "PNG")
        return buffer.getvalue()
    return None
