"""What dashboard, alerts and autoscaler ask for, against what a real server exports and a real Prometheus answers."""

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
# Only a fault makes these, so a healthy server need not export them. Everything else has to be there.
FAULTS = {
    f'lexivec_requests_total{{{NO_PROBES},status=~"5.."}}': "an internal error",
    f'lexivec_requests_total{{{NO_PROBES},status="429"}}': "a full queue",
    'ALERTS{alertname=~"Lexivec.*",alertstate="firing"}': "any alert",
}
# Labels that Prometheus adds.
SCRAPED = {"instance", "job", "namespace", "pod"}
# The server exports these on a GPU only. The server of these tests runs on a CPU, so their names and labels are compared
# with the source instead.
GPU_ONLY = {"lexivec_gpu_memory_bytes"}
DASHBOARD = deploy.dashboard_queries()
EVERYTHING = DASHBOARD + deploy.alert_queries() + deploy.adapter_queries()


def needs_gpu(query: deploy.Query) -> bool:
    """Whether a query reads GPU metrics and nothing else."""
    metrics = {metric for metric, _ in promql.read(query.expr).selectors}
    return bool(metrics) and metrics <= GPU_ONLY


ON_CPU = [query for query in EVERYTHING if not needs_gpu(query)]


@pytest.fixture(scope="session")
def exported(prometheus) -> dict[str, set[str]]:
    """The labels of every metric that Prometheus has."""
    metrics: dict[str, set[str]] = {}
    for series in prometheus.api("series", **{"match[]": '{__name__!=""}'}):
        metrics.setdefault(series["__name__"], set()).update(series)
    return metrics


def test_prometheus_scrapes_the_server(prometheus):
    (target,) = prometheus.api("targets")["activeTargets"]
    assert target["health"] == "up", target["lastError"]
    assert target["labels"]["namespace"] == "default" and target["labels"]["pod"] == "lexivec-0"


def test_metrics_have_the_content_type_that_prometheus_3_demands(server):
    kind = server.get("/metrics").headers["Content-Type"]
    assert kind.startswith(("text/plain; version=0.0.4", "application/openmetrics-text")), kind


def test_what_is_exported_is_what_is_documented(exported, prometheus):
    types = {name: entries[0]["type"] for name, entries in prometheus.api("metadata").items()}
    scraped = SCRAPED | {"__name__", "le"}
    found = {}
    for name, kind in types.items():
        if name.startswith("lexivec_") and name != "lexivec_build_info":
            found[name] = (kind, exported[name if name in exported else f"{name}_bucket"] - scraped)
    assert found == deploy.documented_metrics()


@pytest.mark.parametrize("query", ON_CPU, ids=str)
def test_a_query_asks_for_what_is_exported(query, exported, prometheus):
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
def test_only_counters_are_turned_into_rates(query, prometheus):
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
def test_a_gpu_query_asks_for_what_the_source_exports(query):
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


def test_alert_rules_evaluate_and_none_fires(prometheus):
    rules = [rule for group in prometheus.api("rules")["groups"] for rule in group["rules"]]
    assert rules
    for rule in rules:
        assert rule["health"] == "ok", rule.get("lastError")
        assert rule["state"] == "inactive", rule["name"]


def test_the_adapter_gets_one_value_for_each_pod(prometheus):
    for query in deploy.adapter_queries():
        assert prometheus.query(query.expr), query
    (value,) = prometheus.query(deploy.adapter_queries()[-1].expr)
    assert value["metric"] == {"pod": "lexivec-0"}


def healthcheck(port: int) -> int:
    """The image's own health check; its exit code."""
    script = deploy.DEPLOY / "healthcheck.sh"
    return subprocess.run(["bash", script], env=os.environ | {"LEXIVEC_PORT": str(port)}, timeout=30).returncode


def test_probes_tell_a_server_that_runs_from_one_that_stops(tmp_path):
    probes = deploy.container("base", "Deployment")
    paths = {name: probes[f"{name}Probe"]["httpGet"]["path"] for name in ("startup", "liveness", "readiness")}
    with serving(tmp_path, LEXIVEC_SHUTDOWN_DELAY="3") as server:
        assert {name: server.get(path).status_code for name, path in paths.items()} == dict.fromkeys(paths, 200)
        assert healthcheck(server.port) == 0
        server.process.send_signal(signal.SIGTERM)
        time.sleep(1)
        # Out of the load balancer, still answering.
        assert server.get(paths["readiness"]).status_code == 503
        assert server.get(paths["liveness"]).status_code == 200
        assert server.post("/v1/embeddings", {"model": "nano", "input": "late"}).status_code == 200
        limit = deploy.manifest("base", "Deployment")["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]
        assert server.process.wait(timeout=limit) == 0
        assert healthcheck(server.port) != 0


def test_redis_of_compose_is_a_bounded_cache(redis):
    with socket.create_connection(("127.0.0.1", redis), timeout=5) as connection:
        connection.sendall(b"CONFIG GET maxmemory*\r\nCONFIG GET save\r\nCONFIG GET appendonly\r\nQUIT\r\n")
        answer = b"".join(iter(lambda: connection.recv(4096), b"")).decode().split("\r\n")
    # Without lengths ($, *), QUIT's OK and the end: names and values in turn.
    words = [word for word in answer[:-1] if not word.startswith(("$", "*", "+"))]
    settings = dict(zip(words[::2], words[1::2], strict=True))
    assert settings["maxmemory"] == str(1 << 30) and settings["maxmemory-policy"] == "allkeys-lru"
    assert settings["save"] == "" and settings["appendonly"] == "no"
