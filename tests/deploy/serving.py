"""Starts a real server with the settings of server/deploy, and sends traffic to it."""

import contextlib
import itertools
import os
import socket
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests
import suite

import deploy

KEY = "sk-check"


def request(method: str, url: str, timeout: float = 60, **options: object) -> requests.Response:
    """Sends a request, without the proxies and the .netrc file of the environment.

    Threads send requests while pytest writes PYTEST_CURRENT_TEST, and a thread that iterates over the environment would fail.
    """
    with requests.Session() as session:
        session.trust_env = False
        return session.request(method, url, timeout=timeout, **options)


def free_port() -> int:
    """Returns a port that is not in use."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextlib.contextmanager
def running(command: list[str], log: Path, **options: object) -> Iterator[subprocess.Popen]:
    """Runs a process for the duration of a `with` block, with its output in `log`."""
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out, **options)
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(timeout=60)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def wait_for(url: str, process: subprocess.Popen, log: Path, limit_s: float = 120) -> None:
    """Waits until GET `url` answers 200. Certificates are not verified."""
    deadline = time.monotonic() + limit_s
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        with contextlib.suppress(requests.RequestException):
            if request("GET", url, timeout=5, verify=False).status_code == 200:
                return
        time.sleep(0.1)
    pytest.fail(f"{url} does not answer 200; {log.name}:\n{log.read_text()[-4000:]}")


@dataclass
class Server:
    """A running `lexivec serve`."""

    process: subprocess.Popen
    port: int
    scheme: str = "http"

    def get(self, path: str) -> requests.Response:
        """Sends a GET without an API key, as probes and Prometheus do."""
        return request("GET", f"{self.scheme}://127.0.0.1:{self.port}{path}", timeout=10, verify=False)

    def post(self, path: str, body: object) -> requests.Response:
        """Sends a POST with the API key. A body of bytes is sent unchanged, any other one as JSON."""
        content = {"data": body} if isinstance(body, bytes) else {"json": body}
        headers = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}
        return request("POST", f"http://127.0.0.1:{self.port}{path}", headers=headers, **content)


@contextlib.contextmanager
def serving(folder: Path, scheme: str = "http", port: int | None = None, **variables: str) -> Iterator[Server]:
    """Runs `lexivec serve models/nano` with the variables that compose.yaml and the Deployment set."""
    keys, log, port = folder / "api-keys", folder / "lexivec.log", port or free_port()
    # The server exports metrics for each key that has a name.
    keys.write_text(f"check:{KEY}\n")
    # Variables that need another value here: addresses, and delays that would slow the test down.
    own = {
        "LEXIVEC_HOST": "127.0.0.1",
        "LEXIVEC_PORT": str(port),
        "LEXIVEC_API_KEY_FILE": str(keys),
        "LEXIVEC_SERVED_MODEL_NAME": "nano",
        "LEXIVEC_REDIS_URL": f"redis://127.0.0.1:{free_port()}",
        "LEXIVEC_SHUTDOWN_DELAY": "0",
    }
    environment = os.environ | deploy.server_environment() | own | variables
    command = [deploy.PROGRAM, "serve", str(suite.ROOT / "models" / "nano")]
    with running(command, log, env=environment) as process:
        wait_for(f"{scheme}://127.0.0.1:{port}/readyz", process, log)
        yield Server(process, port, scheme)


def traffic(server: Server, stop: threading.Event) -> Counter:
    """Sends requests until `stop` is set, and counts the answers by status.

    The requests have new texts, cached texts, a text twice, and mistakes.
    """
    statuses: Counter = Counter()
    for turn in itertools.count():
        if stop.wait(0.05):
            return statuses
        texts = ["cardiac arrest", f"term {turn}", f"term {turn}", f"a longer text about term {turn} and its use"]
        body = {"model": "nano", "input": texts, "domain": "medical"}
        answers = [
            server.post("/v1/embeddings", body | {"encoding_format": "base64"}),
            server.post("/v1/embeddings", body),
            server.post("/embed", {"inputs": texts}),
            server.post("/v1/embeddings", {"model": "nano", "input": f"only {turn}"}),
        ]
        assert all(answer.status_code == 200 for answer in answers), [answer.text[:300] for answer in answers]
        mistakes = [
            server.post("/v1/embeddings", b"{"),
            server.post("/v1/embeddings", {"model": "nano", "input": []}),
            server.post("/v1/embeddings", {"model": "another", "input": "text"}),
            server.get("/nowhere"),
        ]
        statuses.update(answer.status_code for answer in answers + mistakes)
