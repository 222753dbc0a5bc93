"""A real server with the settings of server/deploy, Redis, traffic, and a Prometheus that scrapes it."""

import contextlib
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
import yaml

import deploy
import tools

KEY = "sk-check"
# Long enough for `rate` over 10 s to see two scrapes of everything.
WARM_UP_S = 15


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
    keys.write_text(f"{KEY}\n")
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
    command = [deploy.PROGRAM, "serve", str(deploy.ROOT / "models" / "nano")]
    with running(command, log, env=environment) as process:
        wait_for(f"http://127.0.0.1:{port}/readyz", process, log)
        yield Server(process, port)


@pytest.fixture(scope="session")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of a redis-server with the arguments of compose.yaml."""
    folder, port = tmp_path_factory.mktemp("redis"), free_port()
    arguments = deploy.compose()["services"]["redis"]["command"][1:]
    command = [*tools.program("redis-server"), *arguments, "--port", str(port), "--bind", "127.0.0.1"]
    with running(command, folder / "redis.log", cwd=folder) as process:
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline and process.poll() is None:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                yield port
                return
            time.sleep(0.1)
        pytest.fail((folder / "redis.log").read_text())


@pytest.fixture(scope="session")
def server(redis: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server under traffic, from before the first test to after the last."""
    with serving(tmp_path_factory.mktemp("server"), LEXIVEC_REDIS_URL=f"redis://127.0.0.1:{redis}") as server:
        stop, statuses = threading.Event(), Counter()
        thread = threading.Thread(target=traffic, args=(server, stop, statuses))
        thread.start()
        yield server
        stop.set()
        thread.join()
        # The traffic did what it is for.
        assert statuses[200] > 0 and {400, 404} <= statuses.keys(), statuses


def traffic(server: Server, stop: threading.Event, statuses: Counter) -> None:
    """Requests of each kind: new texts, known ones, one text twice, and mistakes."""
    for turn in range(100_000):
        if stop.wait(0.05):
            return
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


@dataclass
class Prometheus:
    """Prometheus's HTTP API."""

    port: int

    def api(self, path: str, **parameters: object) -> object:
        """What /api/v1/PATH answers."""
        answer = requests.get(f"http://127.0.0.1:{self.port}/api/v1/{path}", params=parameters, timeout=30).json()
        assert answer["status"] == "success", answer
        return answer["data"]

    def query(self, expr: str) -> list[dict]:
        """The series of an instant query."""
        return self.api("query", query=expr)["result"]


@pytest.fixture(scope="session")
def prometheus(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """A Prometheus that has scraped `server` for a while, with kubernetes.yml and the alert rules.

    What Kubernetes would tell of a pod is written into the configuration, where the relabelling finds it.
    """
    folder, port = tmp_path_factory.mktemp("prometheus"), free_port()
    config = yaml.safe_load((deploy.DEPLOY / "prometheus" / "kubernetes.yml").read_text())
    config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    config["rule_files"] = [str(deploy.DEPLOY / "prometheus" / name) for name in config["rule_files"]]
    (job,) = config["scrape_configs"]
    del job["kubernetes_sd_configs"]
    pod = deploy.manifest("base", "Deployment")["spec"]["template"]["metadata"]["labels"]
    (named,) = deploy.container("base", "Deployment")["ports"]
    meta = {
        "namespace": "default",
        "pod_name": "lexivec-0",
        "pod_label_app_kubernetes_io_name": pod["app.kubernetes.io/name"],
        "pod_container_port_name": named["name"],
    }
    labels = {f"__meta_kubernetes_{name}": value for name, value in meta.items()}
    job["static_configs"] = [{"targets": [f"127.0.0.1:{server.port}"], "labels": labels}]
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    command = [
        *tools.program("prometheus"),
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--log.level=warn",
    ]
    with running(command, folder / "prometheus.log") as process:
        wait_for(f"http://127.0.0.1:{port}/-/ready", process, folder / "prometheus.log")
        time.sleep(WARM_UP_S)
        yield Prometheus(port)
