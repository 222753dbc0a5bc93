"""server/deploy/nginx/lexivec.conf in front of two real servers that share a Redis."""

import contextlib
import itertools
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import requests
import suite

import tools
from serving import KEY, Server, free_port, request, running, serving, wait_for

CONFIGURATION = suite.ROOT / "server" / "deploy" / "nginx" / "lexivec.conf"
CLIENTS = 4
# What nginx takes from its packages' configuration: the test has its folder alone.
MAIN = """
daemon off;
pid nginx.pid;
error_log stderr warn;
events {}
http {
    access_log off;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    include lexivec.conf;
}
"""


@contextlib.contextmanager
def balanced(folder: Path, ports: list[int]) -> Iterator[Server]:
    """Runs nginx with lexivec.conf in front of servers at these ports."""
    port, text = free_port(), CONFIGURATION.read_text()
    for number, replica in enumerate(ports, 1):
        assert f"replica-{number}:8080" in text
        text = text.replace(f"replica-{number}:8080", f"127.0.0.1:{replica}")
    assert "listen 8000;" in text
    (folder / "lexivec.conf").write_text(text.replace("listen 8000;", f"listen 127.0.0.1:{port};"))
    (folder / "nginx.conf").write_text(MAIN)
    command = [tools.program("nginx"), "-p", str(folder), "-c", "nginx.conf", "-e", "stderr"]
    with running(command, folder / "nginx.log") as process:
        wait_for(f"http://127.0.0.1:{port}/readyz", process, folder / "nginx.log")
        yield Server(process, port)


@dataclass
class Load:
    """Clients that send requests through nginx until they are told to stop."""

    server: Server
    stop: threading.Event = field(default_factory=threading.Event)
    statuses: Counter = field(default_factory=Counter)
    vectors: dict[str, list[float]] = field(default_factory=dict)

    def client(self, number: int) -> None:
        for turn in itertools.count():
            if self.stop.is_set():
                return
            # Terms that come again and a new text, on a new connection each time, and a body that nginx keeps in a file.
            texts = [f"term {turn % 50}", f"new text {turn} of client {number}", "long " * (1 + turn % 3 * 200)]
            answer = self.server.post("/v1/embeddings", {"model": "nano", "input": texts})
            self.statuses[answer.status_code] += 1
            if answer.status_code == requests.codes.ok:
                vector = answer.json()["data"][0]["embedding"]
                assert self.vectors.setdefault(texts[0], vector) == vector

    def wait_for_more(self, count: int) -> None:
        """Waits until this many more requests have been answered."""
        wanted, deadline = self.statuses.total() + count, time.monotonic() + 60
        while self.statuses.total() < wanted:
            assert time.monotonic() < deadline, self.statuses
            time.sleep(0.01)

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        with ThreadPoolExecutor(max_workers=CLIENTS) as pool:
            clients = [pool.submit(self.client, number) for number in range(CLIENTS)]
            try:
                yield
            finally:
                self.stop.set()
            for client in clients:
                client.result()


@pytest.fixture
def folders(tmp_path: Path) -> list[Path]:
    """A folder for each of two replicas and for nginx."""
    folders = [tmp_path / name for name in ("replica-1", "replica-2", "nginx")]
    for folder in folders:
        folder.mkdir()
    return folders


def test_replicas_are_replaced_under_load_and_no_request_fails(folders: list[Path], redis: int) -> None:
    ports = [free_port(), free_port()]
    shared = {"LEXIVEC_REDIS_URL": f"redis://127.0.0.1:{redis}"}

    def replica(number: int) -> contextlib.AbstractContextManager[Server]:
        return serving(folders[number], port=ports[number], **shared)

    with contextlib.ExitStack() as stack:
        first, second = contextlib.ExitStack(), stack.enter_context(contextlib.ExitStack())
        stack.enter_context(first)
        first.enter_context(replica(0))
        second.enter_context(replica(1))
        load = Load(stack.enter_context(balanced(folders[2], ports)))
        with load.running():
            for number, replicas in enumerate([first, second]):
                load.wait_for_more(20)
                # SIGTERM, and the process ends after it has answered what it accepted.
                replicas.close()
                # The other replica serves alone.
                load.wait_for_more(20)
                replicas.enter_context(replica(number))
            load.wait_for_more(20)
    assert set(load.statuses) == {200}, load.statuses


def test_a_request_that_one_replica_refuses_is_served_by_the_other(folders: list[Path]) -> None:
    ports = [free_port(), free_port()]
    body = {"model": "nano", "input": "a term of a few tokens"}
    keys = folders[0] / "few-tokens"
    keys.write_text(f"check:{KEY} tokens-per-minute=16\n")
    with (
        serving(folders[0], port=ports[0], LEXIVEC_API_KEY_FILE=str(keys)) as small,
        serving(folders[1], port=ports[1]),
        balanced(folders[2], ports) as both,
    ):
        assert any(small.post("/v1/embeddings", body).status_code == 429 for _ in range(5))
        answers = Counter(both.post("/v1/embeddings", body).status_code for _ in range(20))
        assert answers == {200: 20}


def test_the_load_of_a_replica_is_reported_to_balancers(server: Server) -> None:
    headers = {"Authorization": f"Bearer {KEY}", "endpoint-load-metrics-format": "TEXT"}
    url = f"http://127.0.0.1:{server.port}/v1/embeddings"
    answer = request("POST", url, headers=headers, json={"model": "nano", "input": "heart"})
    name, _, value = answer.headers["endpoint-load-metrics"].removeprefix("TEXT ").partition(",")[0].partition("=")
    assert name == "named_metrics.outstanding_tokens"
    assert int(value) >= 0
    without_key = request("GET", url, headers={"endpoint-load-metrics-format": "TEXT"})
    assert "endpoint-load-metrics" not in without_key.headers
