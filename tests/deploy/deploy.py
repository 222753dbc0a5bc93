"""Reads the files of server/deploy for the tests."""

import json
import re
import subprocess
from dataclasses import dataclass
from functools import cache

import suite
import yaml

DEPLOY = suite.ROOT / "server" / "deploy"
PROGRAM = str(suite.program())
KUSTOMIZATIONS = ["base", "convert", "cuda"]


@dataclass(frozen=True)
class Peer:
    """The pod at the other end of a connection, described by its labels and its namespace's labels."""

    pod: dict[str, str]
    namespace: dict[str, str]
    same_namespace: bool = False


@cache
def compose() -> dict:
    """Returns the contents of compose.yaml."""
    return yaml.safe_load((DEPLOY / "compose.yaml").read_text())


@cache
def manifests(name: str) -> list[dict]:
    """Returns the Kubernetes objects that kustomize builds from kubernetes/NAME."""
    command = ["kubectl", "kustomize", DEPLOY / "kubernetes" / name]
    try:
        built = subprocess.run(command, capture_output=True, text=True)
    except FileNotFoundError as error:
        # Debian's kubectl is 1.20, whose kustomize does not support `patches`.
        raise RuntimeError("kubectl is missing: install 1.21 or newer, whose kustomize builds the manifests") from error
    assert built.returncode == 0, built.stderr
    return list(yaml.safe_load_all(built.stdout))


def manifest(name: str, kind: str) -> dict:
    """Returns the only object of a kind in kubernetes/NAME."""
    (found,) = [item for item in manifests(name) if item["kind"] == kind]
    return found


def container(name: str, kind: str) -> dict:
    """Returns the only container of an object's pods in kubernetes/NAME."""
    (found,) = manifest(name, kind)["spec"]["template"]["spec"]["containers"]
    return found


def admits(policy: dict, direction: str, peer: Peer, port: int | str, protocol: str = "TCP") -> bool:
    """Whether a NetworkPolicy admits a pod as the other end of a connection, by the Kubernetes API's rules.

    An absent `from`, `to` or `ports` admits everything. An absent namespace selector means the policy's own namespace.
    Ports are compared as written, without resolving names. `ipBlock`s admit no pods.
    """

    def selects(selector: dict, labels: dict[str, str]) -> bool:
        assert selector.keys() <= {"matchLabels"}, f"unsupported selector: {selector}"
        return selector.get("matchLabels", {}).items() <= labels.items()

    def matches(end: dict) -> bool:
        if "ipBlock" in end:
            return False
        space = selects(end["namespaceSelector"], peer.namespace) if "namespaceSelector" in end else peer.same_namespace
        return space and selects(end.get("podSelector", {}), peer.pod)

    for rule in policy["spec"].get(direction) or []:
        ends, ports = rule.get("from" if direction == "ingress" else "to"), rule.get("ports")
        fits = not ports or any(item["port"] == port and item["protocol"] == protocol for item in ports)
        if fits and (not ends or any(matches(end) for end in ends)):
            return True
    return False


def server_environment() -> dict[str, str]:
    """Returns every LEXIVEC_ variable that compose.yaml and the Deployment set to a fixed value."""
    variables = dict(compose()["services"]["lexivec"]["environment"])
    variables |= {item["name"]: item.get("value") for item in container("base", "Deployment")["env"]}
    return {name: value for name, value in variables.items() if name.startswith("LEXIVEC_") and value is not None}


@cache
def dashboard() -> dict:
    """Returns the Grafana dashboard."""
    return json.loads((DEPLOY / "grafana" / "lexivec.json").read_text())


def panels() -> list[dict]:
    """Returns the dashboard's panels without headings."""
    return [panel for panel in dashboard()["panels"] if panel["type"] != "row"]


@dataclass(frozen=True)
class Query:
    """A PromQL expression and the place where it is written."""

    place: str
    expr: str

    def __str__(self) -> str:
        return self.place


def dashboard_queries() -> list[Query]:
    """Returns the panels' queries, with Grafana's variables set to all models and a scrape every second."""
    queries = []
    for panel in panels():
        for target in panel["targets"]:
            expr = target["expr"].replace("$__rate_interval", "10s").replace("$model", ".*")
            assert "$" not in expr, f"{panel['title']}: unsupported variable in {expr}"
            queries.append(Query(f"{panel['title']} {target['refId']}", expr))
    return queries


def variable_queries() -> list[tuple[str, str]]:
    """Returns the metric and the label whose values each of the dashboard's variables lists."""
    variables = [item for item in dashboard()["templating"]["list"] if item["type"] == "query"]
    return [re.fullmatch(r"label_values\((\w+), (\w+)\)", item["query"]["query"]).groups() for item in variables]


def alert_queries() -> list[Query]:
    """Returns the conditions of the alert rules, and the queries of the dashboard's annotations."""
    rules = yaml.safe_load((DEPLOY / "prometheus" / "alerts.yml").read_text())
    queries = [Query(rule["alert"], rule["expr"]) for group in rules["groups"] for rule in group["rules"]]
    return queries + [Query(item["name"], item["target"]["expr"]) for item in dashboard()["annotations"]["list"]]


def adapter_queries() -> list[Query]:
    """Returns the queries of the Prometheus adapter, with its templates filled in for one pod."""
    rules = yaml.safe_load((DEPLOY / "prometheus" / "adapter.yml").read_text())["rules"]
    queries = []
    for rule in rules:
        series = rule["seriesQuery"]
        expr = rule["metricsQuery"].replace("<<.Series>>", series.partition("{")[0])
        expr = expr.replace("<<.LabelMatchers>>", 'namespace="default",pod=~"lexivec-0"').replace("<<.GroupBy>>", "pod")
        queries += [Query("adapter seriesQuery", series), Query("adapter metricsQuery", expr)]
    return queries


def documented_metrics() -> dict[str, tuple[str, set[str]]]:
    """Returns the type and the labels of each lexivec_ metric in the tables of server/METRICS.md."""
    metrics = {}
    for line in (suite.ROOT / "server" / "METRICS.md").read_text().splitlines():
        if line.startswith("| `lexivec_"):
            names, kind = line.split("|")[1:3]
            labels = set(re.findall(r"`(\w+)`", kind))
            metrics |= {name: (kind.split(":")[0].strip(), labels) for name in re.findall(r"`(\w+)`", names)}
    return metrics


def source_labels(metric: str) -> set[str]:
    """Returns the labels of a gauge in runtime/src/metrics.rs, for metrics that a server exports only on a GPU."""
    source = (suite.ROOT / "runtime" / "src" / "metrics.rs").read_text()
    constant = re.search(rf'const (\w+): &str = "{metric}";', source)
    assert constant, f"runtime/src/metrics.rs has no {metric}"
    labels = re.search(rf"gauge!\({constant[1]}\b([^)]*)\)", source)
    assert labels, f"runtime/src/metrics.rs sets no gauge {metric}"
    return set(re.findall(r'"(\w+)" =>', labels[1]))
