"""Load: many clients at once, and two ways to time them, of which one leaves out what hurts most.

In a closed loop each client waits for its answer before it asks again: while the service stands still, nobody
asks, and the standstill is seen once a client. In an open loop requests come when they come, as users do, and
each is timed from when it was due.

Source: G. Tene, "How NOT to measure latency", 2013, who calls it coordinated omission.
"""

from __future__ import annotations

import asyncio
import json
import random
import subprocess
import sys
import time
from base64 import b64decode, b64encode
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kit.errors import ArgumentError, ServiceError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from kit.serving.service import Service

_MOST = 256  # connections of an open loop; who is due while all are taken waits for one, and that time counts


@dataclass(frozen=True)
class Load:
    """What a load test found.

    Attributes:
        kind: "closed" or "open".
        offered: clients, or requests a second.
        seconds: how long requests were sent.
        milliseconds: of each answer, in the order of the answers; in an open loop from when it was due.
        failed: answers other than 200, and connections that broke.
    """

    kind: str
    offered: float
    seconds: float
    milliseconds: tuple[float, ...]
    failed: int = 0

    @property
    def rate(self) -> float:
        """Answers a second."""
        return len(self.milliseconds) / self.seconds

    def percentile(self, percent: float) -> float:
        """Return the milliseconds within which so many percent were answered."""
        import numpy as np

        return float(np.percentile(self.milliseconds, percent))

    def __str__(self) -> str:
        load = f"{self.offered:g} clients" if self.kind == "closed" else f"{self.offered:g} requests/s"
        marks = ", ".join(f"p{p} {self.percentile(p):.2f}" for p in (50, 90, 99)) if self.milliseconds else ""
        return f"{self.kind} loop, {load}: {self.rate:,.0f} answers/s, {self.failed} failed; ms: {marks}"


def load_test(
    service: Service,
    inputs: NDArray[Any],
    *,
    clients: int | None = None,
    rate: float | None = None,
    seconds: float = 3.0,
    model: str | None = None,
    seed: int = 0,
) -> Load:
    """Send a service one request again and again, in binary, from a process of its own.

    Args:
        service: which.
        inputs: (N, *shape) float32, what the model takes.
        clients: for a closed loop: how many, each waiting for its answer before it asks again.
        rate: for an open loop: requests a second on average, at random times (a Poisson process).
        seconds: how long to send.
        model: by default the service's first.
        seed: of the random times.

    Raises:
        ArgumentError: unless exactly one of `clients` and `rate` is given.
        ServiceError: when nothing could be sent.

    Example: `load_test(service, data.test.inputs[:1].numpy(), rate=200).percentile(99)`
    """
    if (clients is None) == (rate is None):
        raise ArgumentError("give clients= for a closed loop or rate= for an open one")
    head, port, certificate = service.request(inputs, model=model)
    if certificate:
        raise ArgumentError("the load test speaks plain HTTP; serve with tls=None to measure")
    kind, offered = ("closed", clients) if clients is not None else ("open", rate)
    return send(head, port, kind=kind, offered=float(offered or 0), seconds=seconds, seed=seed)


def send(request: bytes, port: int, *, kind: str, offered: float, seconds: float, seed: int = 0) -> Load:
    """Send an HTTP request, as it goes over the wire, again and again from a process of its own.

    Raises:
        ServiceError: when that process broke off.
    """
    order = {"port": port, "request": b64encode(request).decode(), "seconds": seconds, "seed": seed}
    done = subprocess.run(
        [sys.executable, "-m", "kit.serving.load"],
        input=json.dumps(order | {"kind": kind, "offered": offered}),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise ServiceError(f"the load test broke off: {done.stderr.strip().splitlines()[-1]}")
    told = json.loads(done.stdout)
    return Load(kind, offered, seconds, tuple(told["milliseconds"]), told["failed"])


class Connection(asyncio.Protocol):
    """One HTTP connection that sends one request at a time; as little work as can be."""

    def __init__(self, request: bytes) -> None:
        self._request, self._buffer, self._usual = request, b"", 0
        self._answer: asyncio.Future[bool] | None = None
        self.transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Note the way to write."""
        self.transport = transport

    def ask(self) -> asyncio.Future[bool]:
        """Send the request; the future says whether it was answered with 200."""
        self._answer = asyncio.get_running_loop().create_future()
        self.transport.write(self._request)
        return self._answer

    def data_received(self, data: bytes) -> None:
        """Gather an answer."""
        self._buffer = self._buffer + data if self._buffer else data
        if len(self._buffer) == self._usual and self._buffer.startswith(b"HTTP/1.1 200") and self._answer:
            self._buffer, answer, self._answer = b"", self._answer, None
            answer.set_result(True)
            return
        head, found, rest = self._buffer.partition(b"\r\n\r\n")
        length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
        if found and len(rest) >= int(length or 0) and self._answer is not None:
            good = head.startswith(b"HTTP/1.1 200")
            self._usual = len(self._buffer) if good else 0  # the same answer need not be taken apart again
            self._buffer, answer, self._answer = b"", self._answer, None
            answer.set_result(good)

    def connection_lost(self, _reason: Exception | None) -> None:
        """Answer for a connection that broke."""
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(False)


class _Loop:
    """Sends requests and keeps count."""

    def __init__(self, order: dict[str, Any]) -> None:
        self._order = order
        self._request = b64decode(order["request"])
        self._spent: list[float] = []
        self._failed = 0

    async def run(self) -> dict[str, Any]:
        if self._order["kind"] == "closed":
            await asyncio.gather(*(self._client() for _ in range(int(self._order["offered"]))))
        else:
            await self._open()
        return {"milliseconds": [round(1e3 * s, 4) for s in self._spent], "failed": self._failed}

    async def _connect(self) -> Connection:
        loop = asyncio.get_running_loop()
        make = loop.create_connection(lambda: Connection(self._request), "127.0.0.1", self._order["port"])
        return (await make)[1]

    async def _client(self) -> None:
        """Ask until the time is up, each time after the answer."""
        connection = await self._connect()
        end = time.perf_counter() + self._order["seconds"]
        while (due := time.perf_counter()) < end:
            connection = await self._one(connection, due)
        connection.transport.close()

    async def _open(self) -> None:
        """Ask whenever a request is due."""
        free = [await self._connect() for _ in range(8)]
        room = asyncio.Semaphore(_MOST)
        times = random.Random(self._order["seed"])
        begin = due = time.perf_counter()
        sent: set[asyncio.Task[None]] = set()

        async def one(due: float) -> None:
            async with room:
                connection = free.pop() if free else await self._connect()
                free.append(await self._one(connection, due))

        while (due := due + times.expovariate(self._order["offered"])) < begin + self._order["seconds"]:
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            sent.add(asyncio.ensure_future(one(due)))
        await asyncio.gather(*sent)
        for connection in free:
            connection.transport.close()

    async def _one(self, connection: Connection, due: float) -> Connection:
        if await connection.ask():
            self._spent.append(time.perf_counter() - due)
            return connection
        self._failed += 1
        connection.transport.close()
        return await self._connect()


def main() -> None:
    """Read an order from the standard input, write what was found."""
    import uvloop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        print(json.dumps(runner.run(_Loop(json.load(sys.stdin)).run())))  # noqa: T201 -- to the parent


if __name__ == "__main__":
    main()
