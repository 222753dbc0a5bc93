"""Tests that hold the queries of dashboard, alerts and autoscaler against a real server and a real Prometheus."""

import math
import os
import signal
import socket
import subprocess
import time

import pytest

import deploy
import promql
from serving import serving

NO_PROBES = 'route!~"/health|/livez|/readyz|/metrics"'
# Only a fault creates these series, so a healthy server need not export them. All others must exist.
FAULTS = {
    f'lexivec_requests_total{{{NO_PROBES},status=~"5.."}}': "an internal error",
    f'lexivec_requests_total{{{NO_PROBES},status="429"}}': "overload",
    'ALERTS{alertname=~"Lexivec.*",alertstate="firing"}': "any alert",
}
# Labels that Prometheus adds.
SCRAPED = {"instance", "job", "namespace", "pod"}
# The server exports these only on a GPU. These tests run on a CPU, so they compare names and labels with the source.
GPU_ONLY = {"lexivec_gpu_memory_bytes"}
# Port 9 (discard) of this machine, which refuses connections.
UNREACHABLE = "http://127.0.0.1:9"
DASHBOARD = deploy.dashboard_queries()
EVERYTHING = DASHBOARD + deploy.alert_queries() + deploy.adapter_queries()


def needs_gpu(query: deploy.Query) -> bool:
    """Whether a query reads GPU metrics and nothing else."""
    metrics = {metric for metric, _ in promql.read(query.expr).selectors}
    return bool(metrics) and metrics <= GPU_ONLY


ON_CPU = [query for query in EVERYTHING if not needs_gpu(query)]


@pytest.fixture(scope="session")
def exported(prometheus) -> dict[str, set[str]]:
    """Maps every metric that Prometheus has scraped to its labels."""
    metrics: dict[str, set[str]] = {}
    for series in prometheus.api("series", **{"match[]": '{__name__!=""}'}):
        metrics.setdefault(series["__name__"], set()).update(series)
    return metrics


def test_prometheus_scrapes_the_server(prometheus):
    (target,) = prometheus.api("targets")["activeTargets"]
    assert target["health"] == "up", target["lastError"]
    assert target["labels"]["namespace"] == "default" and target["labels"]["pod"] == "lexivec-0"


def test_metrics_have_the_content_type_that_prometheus_3_requires(server):
    content_type = server.get("/metrics").headers["Content-Type"]
    assert content_type.startswith(("text/plain; version=0.0.4", "application/openmetrics-text")), content_type


def test_exported_metrics_are_the_documented_ones(exported, prometheus):
    types = {name: entries[0]["type"] for name, entries in prometheus.api("metadata").items()}
    scraped = SCRAPED | {"__name__", "le"}
    found = {}
    for name, kind in types.items():
        if name.startswith("lexivec_") and name != "lexivec_build_info":
            found[name] = (kind, exported[name if name in exported else f"{name}_bucket"] - scraped)
    assert found == deploy.documented_metrics()


@pytest.mark.parametrize("query", ON_CPU, ids=str)
def test_a_query_reads_only_exported_metrics(query, exported, prometheus):
    reading = promql.read(query.expr)
    for metric, selector in reading.selectors:
        if selector in FAULTS and metric not in exported:
            continue
        assert metric in exported, f"{metric} is not exported"
        missing = promql.labels(selector) - exported[metric]
        assert not missing, f"{metric} has no label {missing}"
        assert selector in FAULTS or prometheus.query(f"count({selector})"), f"nothing matches {selector}"
    for label, metrics in reading.labels:
        without = {metric for metric in metrics if metric in exported and label not in exported[metric]}
        assert not without, f"{without} has no label {label}"


@pytest.mark.parametrize("query", ON_CPU, ids=str)
def test_rates_are_taken_only_of_counters(query, prometheus):
    types = {name: entries[0]["type"] for name, entries in prometheus.api("metadata").items()}
    for metric in promql.read(query.expr).counted:
        family = metric.removesuffix("_bucket").removesuffix("_sum").removesuffix("_count")
        kind = types.get(metric) or types.get(metric.removesuffix("_total")) or types.get(family)
        assert kind == ("counter" if family == metric else "histogram"), f"{metric} is a {kind}"


@pytest.mark.parametrize("query", [query for query in DASHBOARD if not needs_gpu(query)], ids=str)
def test_a_dashboard_query_returns_numbers(query, prometheus):
    values = [float(series["value"][1]) for series in prometheus.query(query.expr)]
    assert any(math.isfinite(value) for value in values), f"{values} from {query.expr}"


@pytest.mark.parametrize("query", [query for query in DASHBOARD if needs_gpu(query)], ids=str)
def test_a_gpu_query_reads_only_labels_that_the_source_exports(query):
    reading = promql.read(query.expr)
    for metric, selector in reading.selectors:
        asked = promql.labels(selector) | {label for label, metrics in reading.labels if metric in metrics}
        missing = asked - deploy.source_labels(metric) - SCRAPED
        assert not missing, f"{metric} has no label {missing}"
    assert not reading.counted & GPU_ONLY, "a gauge has no rate"


def test_gpu_metrics_are_absent_on_a_cpu(exported):
    assert not GPU_ONLY & exported.keys(), "the tests above can check these against the server"


@pytest.mark.parametrize(("metric", "label"), deploy.variable_queries())
def test_a_dashboard_variable_has_values(metric, label, prometheus):
    assert "nano" in prometheus.api(f"label/{label}/values", **{"match[]": metric})


def test_alert_rules_evaluate_without_firing(prometheus):
    rules = [rule for group in prometheus.api("rules")["groups"] for rule in group["rules"]]
    assert rules
    for rule in rules:
        assert rule["health"] == "ok", rule.get("lastError")
        assert rule["state"] == "inactive", rule["name"]


def test_the_adapter_gets_one_value_per_pod(prometheus):
    for query in deploy.adapter_queries():
        assert prometheus.query(query.expr), query
    (value,) = prometheus.query(deploy.adapter_queries()[-1].expr)
    assert value["metric"] == {"pod": "lexivec-0"}


def healthcheck(port: int, **variables: str) -> int:
    """Runs the image's health check and returns its exit code."""
    # The container's proxy is for downloads. Nothing listens on this one.
    variables |= {"LEXIVEC_PORT": str(port), "http_proxy": UNREACHABLE, "https_proxy": UNREACHABLE}
    script = deploy.DEPLOY / "healthcheck.sh"
    return subprocess.run(["sh", script], env=os.environ | variables, timeout=30).returncode


def test_probes_distinguish_a_running_server_from_a_stopping_one(tmp_path):
    probes = deploy.container("base", "Deployment")
    paths = {name: probes[f"{name}Probe"]["httpGet"]["path"] for name in ("startup", "liveness", "readiness")}
    with serving(tmp_path, LEXIVEC_SHUTDOWN_DELAY="3") as server:
        assert {name: server.get(path).status_code for name, path in paths.items()} == dict.fromkeys(paths, 200)
        assert healthcheck(server.port) == 0
        server.process.send_signal(signal.SIGTERM)
        time.sleep(1)
        # The server leaves the load balancer but still answers.
        assert server.get(paths["readiness"]).status_code == 503
        assert healthcheck(server.port) != 0
        assert server.get(paths["liveness"]).status_code == 200
        assert server.post("/v1/embeddings", {"model": "nano", "input": "late"}).status_code == 200
        limit = deploy.manifest("base", "Deployment")["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]
        assert server.process.wait(timeout=limit) == 0
        assert healthcheck(server.port) != 0


@pytest.mark.filterwarnings("ignore:Unverified HTTPS request")
def test_the_health_check_asks_over_tls(tmp_path):
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    request = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    files = ["-subj", "/CN=lexivec.example", "-out", certificate, "-keyout", key]
    subprocess.run([*request, *files], check=True, capture_output=True)
    tls = {"LEXIVEC_TLS_CERT": str(certificate), "LEXIVEC_TLS_KEY": str(key)}
    with serving(tmp_path, scheme="https", LEXIVEC_SHUTDOWN_DELAY="3", **tls) as server:
        assert healthcheck(server.port, **tls) == 0
        server.process.send_signal(signal.SIGTERM)
        time.sleep(1)
        assert server.get("/readyz").status_code == 503
        assert healthcheck(server.port, **tls) != 0


@pytest.mark.parametrize("variables", [{}, {"LEXIVEC_TLS_CERT": "certificate.pem"}], ids=["http", "https"])
def test_a_port_that_only_accepts_connections_is_unhealthy(variables):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        assert healthcheck(listener.getsockname()[1], **variables) != 0


def test_redis_of_compose_is_a_bounded_cache(redis):
    with socket.create_connection(("127.0.0.1", redis), timeout=5) as connection:
        connection.sendall(b"CONFIG GET maxmemory*\r\nCONFIG GET save\r\nCONFIG GET appendonly\r\nQUIT\r\n")
        answer = b"".join(iter(lambda: connection.recv(4096), b"")).decode().split("\r\n")
    # Without lengths ($, *), the answer to QUIT and the end, names and values alternate.
    words = [word for word in answer[:-1] if not word.startswith(("$", "*", "+"))]
    settings = dict(zip(words[::2], words[1::2], strict=True))
    assert settings["maxmemory"] == str(1 << 30) and settings["maxmemory-policy"] == "allkeys-lru"
    assert settings["save"] == "" and settings["appendonly"] == "no"
