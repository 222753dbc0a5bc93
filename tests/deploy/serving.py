"""A real server with the settings of server/deploy, and traffic for it."""

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


def free_port() -> int:
    """A port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextlib.contextmanager
def running(command: list[str], log: Path, **options: object) -> Iterator[subprocess.Popen]:
    """A process that ends with the block; what it wrote is in `log`."""
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
    """Returns when GET url answers 200."""
    deadline = time.monotonic() + limit_s
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        with contextlib.suppress(requests.RequestException):
            if requests.get(url, timeout=5).status_code == 200:
                return
        time.sleep(0.1)
    pytest.fail(f"{url} does not answer 200; {log.name}:\n{log.read_text()[-4000:]}")


@dataclass
class Server:
    """A `lexivec serve`."""

    process: subprocess.Popen
    port: int

    def get(self, path: str) -> requests.Response:
        """GET, without a key: probes and Prometheus have none."""
        return requests.get(f"http://127.0.0.1:{self.port}{path}", timeout=10)

    def post(self, path: str, body: object) -> requests.Response:
        """POST with the key; a body of bytes goes as it is."""
        content = {"data": body} if isinstance(body, bytes) else {"json": body}
        headers = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}
        return requests.post(f"http://127.0.0.1:{self.port}{path}", headers=headers, timeout=60, **content)


@contextlib.contextmanager
def serving(folder: Path, **variables: str) -> Iterator[Server]:
    """`lexivec serve models/nano` with the variables that compose.yaml and the Deployment set."""
    keys, log, port = folder / "api-keys", folder / "lexivec.log", free_port()
    # A key with a name has metrics of its own.
    keys.write_text(f"check:{KEY}\n")
    # What has another value here: addresses, and what would only make the check slow.
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
        wait_for(f"http://127.0.0.1:{port}/readyz", process, log)
        yield Server(process, port)


def traffic(server: Server, stop: threading.Event) -> Counter:
    """Requests of each kind until `stop`: new texts, known ones, one twice, and mistakes. Answers by status."""
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
