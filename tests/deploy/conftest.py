"""Fixtures that start a server under traffic, its Redis, and a Prometheus that scrapes it, once for all tests."""

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest
import yaml

import deploy
import tools
from serving import Server, free_port, request, running, serving, traffic, wait_for

# Long enough that `rate` over 10 s sees two scrapes of every series.
WARM_UP_S = 15


@pytest.fixture(scope="session")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """Runs a redis-server with the arguments of compose.yaml; yields its port."""
    folder, port = tmp_path_factory.mktemp("redis"), free_port()
    arguments = deploy.compose()["services"]["redis"]["command"][1:]
    command = ["redis-server", *arguments, "--port", str(port), "--bind", "127.0.0.1"]
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
    """Runs a server under traffic for the whole session."""
    stop = threading.Event()
    with (
        serving(tmp_path_factory.mktemp("server"), LEXIVEC_REDIS_URL=f"redis://127.0.0.1:{redis}") as server,
        ThreadPoolExecutor(max_workers=1) as pool,
    ):
        sent = pool.submit(traffic, server, stop)
        try:
            yield server
        finally:
            stop.set()
        statuses = sent.result()
    # The traffic had successful requests and both mistakes.
    assert statuses[200] > 0 and {400, 404} <= statuses.keys(), statuses


@dataclass
class Prometheus:
    """A client of Prometheus' HTTP API."""

    port: int

    def api(self, path: str, **parameters: object) -> object:
        """Returns the data of /api/v1/PATH."""
        answer = request("GET", f"http://127.0.0.1:{self.port}/api/v1/{path}", timeout=30, params=parameters).json()
        assert answer["status"] == "success", answer
        return answer["data"]

    def query(self, expr: str) -> list[dict]:
        """Returns the series of an instant query."""
        return self.api("query", query=expr)["result"]


@pytest.fixture(scope="session")
def prometheus(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """Runs a Prometheus with kubernetes.yml and the alert rules, which has scraped `server` for a while.

    The configuration contains the labels that Kubernetes would discover, so that relabelling finds them.
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
        tools.program("prometheus"),
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--log.level=warn",
    ]
    with running(command, folder / "prometheus.log") as process:
        wait_for(f"http://127.0.0.1:{port}/-/ready", process, folder / "prometheus.log")
        time.sleep(WARM_UP_S)
        yield Prometheus(port)
