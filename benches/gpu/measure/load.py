"""A closed-loop load generator: a fixed number of clients, each of which sends a request when its last one is answered."""

import itertools
import statistics
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from .server import Server


@dataclass(frozen=True)
class Round:
    """One round of load."""

    requests: int
    seconds: float
    latencies: list[float]

    def per_second(self, units_per_request: float) -> float:
        """Returns the rate of a unit that requests contain, such as inputs or tokens."""
        return self.requests * units_per_request / self.seconds


class Bodies:
    """An iterator of request bodies that several threads share."""

    def __init__(self, bodies: Iterable[bytes]) -> None:
        self.bodies: Iterator[bytes] = iter(bodies)
        self.lock = threading.Lock()

    def next(self) -> bytes:
        """Returns the next body."""
        with self.lock:
            return next(self.bodies)


def load(server: Server, bodies: Bodies, in_flight: int, seconds: float) -> Round:
    """Keeps requests in flight for some seconds, then waits for the last answers. Their time counts."""
    latencies: list[float] = []
    errors: list[Exception] = []
    end = time.monotonic() + seconds

    def client() -> None:
        try:
            connection = server.connect()
            while True:
                content = bodies.next()
                started = time.monotonic()
                connection.post("/v1/embeddings", content)
                latencies.append(time.monotonic() - started)
                if time.monotonic() >= end:
                    return
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=client, daemon=True) for _ in range(in_flight)]
    started = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    elapsed = time.monotonic() - started
    if errors:
        raise RuntimeError(f"{len(errors)} of {in_flight} clients failed; the first: {errors[0]}: {server.last_words()}")
    return Round(len(latencies), elapsed, latencies)


def median_rate(measure: Callable[[], Round], rounds: int, units: float) -> tuple[float, list[float]]:
    """Returns the median rate of several rounds, and all rates. A first round warms up and does not count."""
    measure()
    rates = [measure().per_second(units) for _ in range(rounds)]
    return statistics.median(rates), rates


def latency(server: Server, bodies: Sequence[bytes]) -> list[float]:
    """Returns the seconds of requests that are sent one after another. A tenth of them are sent before, to warm up."""
    connection = server.connect()
    for content in itertools.islice(itertools.cycle(bodies), max(3, len(bodies) // 10)):
        connection.post("/v1/embeddings", content)
    seconds = []
    for content in bodies:
        started = time.perf_counter()
        connection.post("/v1/embeddings", content)
        seconds.append(time.perf_counter() - started)
    return seconds


def percentile(values: Sequence[float], share: float) -> float:
    """Returns the value below which a share of the values lies."""
    return sorted(values)[min(int(share * len(values)), len(values) - 1)]
