"""The files of server/deploy, read for the tests."""

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
    """A pod at the other end of a connection, by its labels and those of its namespace."""

    pod: dict[str, str]
    namespace: dict[str, str]
    same_namespace: bool = False


@cache
def compose() -> dict:
    """compose.yaml."""
    return yaml.safe_load((DEPLOY / "compose.yaml").read_text())


@cache
def manifests(name: str) -> list[dict]:
    """The Kubernetes objects of kubernetes/NAME, as kustomize builds them."""
    command = ["kubectl", "kustomize", DEPLOY / "kubernetes" / name]
    try:
        built = subprocess.run(command, capture_output=True, text=True)
    except FileNotFoundError as error:
        # Debian's is 1.20, whose kustomize knows no `patches`.
        raise RuntimeError("kubectl is missing: install 1.21 or newer, whose kustomize builds the manifests") from error
    assert built.returncode == 0, built.stderr
    return list(yaml.safe_load_all(built.stdout))


def manifest(name: str, kind: str) -> dict:
    """The one object of a kind in kubernetes/NAME."""
    (found,) = [item for item in manifests(name) if item["kind"] == kind]
    return found


def container(name: str, kind: str) -> dict:
    """The container of the pods of kubernetes/NAME."""
    (found,) = manifest(name, kind)["spec"]["template"]["spec"]["containers"]
    return found


def admits(policy: dict, direction: str, peer: Peer, port: int | str, protocol: str = "TCP") -> bool:
    """Whether a NetworkPolicy admits a pod as the other end of a connection, by the Kubernetes API's rules.

    An absent `from`, `to` or `ports` admits everything; an absent selector of a namespace means the policy's own one.
    Ports are compared as written: a name is not resolved. `ipBlock`s admit no pods.
    """

    def selects(selector: dict, labels: dict[str, str]) -> bool:
        assert selector.keys() <= {"matchLabels"}, f"this check does not know {selector}"
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
    """Every LEXIVEC_ variable that compose.yaml and the Deployment set to a fixed value."""
    variables = dict(compose()["services"]["lexivec"]["environment"])
    variables |= {item["name"]: item.get("value") for item in container("base", "Deployment")["env"]}
    return {name: value for name, value in variables.items() if name.startswith("LEXIVEC_") and value is not None}


@cache
def dashboard() -> dict:
    """The Grafana dashboard."""
    return json.loads((DEPLOY / "grafana" / "lexivec.json").read_text())


def panels() -> list[dict]:
    """The dashboard's panels, headings left out."""
    return [panel for panel in dashboard()["panels"] if panel["type"] != "row"]


@dataclass(frozen=True)
class Query:
    """A PromQL expression and where it stands."""

    place: str
    expr: str

    def __str__(self) -> str:
        return self.place


def dashboard_queries() -> list[Query]:
    """What the panels ask, with Grafana's variables filled in as for all models and a scrape each second."""
    queries = []
    for panel in panels():
        for target in panel["targets"]:
            expr = target["expr"].replace("$__rate_interval", "10s").replace("$model", ".*")
            assert "$" not in expr, f"{panel['title']}: a variable that this check does not know: {expr}"
            queries.append(Query(f"{panel['title']} {target['refId']}", expr))
    return queries


def variable_queries() -> list[tuple[str, str]]:
    """The metric and label that each of the dashboard's variables lists the values of."""
    variables = [item for item in dashboard()["templating"]["list"] if item["type"] == "query"]
    return [re.fullmatch(r"label_values\((\w+), (\w+)\)", item["query"]["query"]).groups() for item in variables]


def alert_queries() -> list[Query]:
    """The alert rules' conditions, and the dashboard's marks for them."""
    rules = yaml.safe_load((DEPLOY / "prometheus" / "alerts.yml").read_text())
    queries = [Query(rule["alert"], rule["expr"]) for group in rules["groups"] for rule in group["rules"]]
    return queries + [Query(item["name"], item["target"]["expr"]) for item in dashboard()["annotations"]["list"]]


def adapter_queries() -> list[Query]:
    """What the Prometheus adapter asks on behalf of the autoscaler, its templates filled in as for one pod."""
    rules = yaml.safe_load((DEPLOY / "prometheus" / "adapter.yml").read_text())["rules"]
    queries = []
    for rule in rules:
        series = rule["seriesQuery"]
        expr = rule["metricsQuery"].replace("<<.Series>>", series.partition("{")[0])
        expr = expr.replace("<<.LabelMatchers>>", 'namespace="default",pod=~"lexivec-0"').replace("<<.GroupBy>>", "pod")
        queries += [Query("adapter seriesQuery", series), Query("adapter metricsQuery", expr)]
    return queries


def documented_metrics() -> dict[str, tuple[str, set[str]]]:
    """The type and the labels of each lexivec_ metric in the tables of server/METRICS.md."""
    metrics = {}
    for line in (suite.ROOT / "server" / "METRICS.md").read_text().splitlines():
        if line.startswith("| `lexivec_"):
            names, kind = line.split("|")[1:3]
            labels = set(re.findall(r"`(\w+)`", kind))
            metrics |= {name: (kind.split(":")[0].strip(), labels) for name in re.findall(r"`(\w+)`", names)}
    return metrics


def source_labels(metric: str) -> set[str]:
    """The labels of a gauge in runtime/src/metrics.rs, for metrics that a server exports on a GPU only."""
    source = (suite.ROOT / "runtime" / "src" / "metrics.rs").read_text()
    constant = re.search(rf'const (\w+): &str = "{metric}";', source)
    assert constant, f"runtime/src/metrics.rs has no {metric}"
    labels = re.search(rf"gauge!\({constant[1]}\b([^)]*)\)", source)
    assert labels, f"runtime/src/metrics.rs sets no gauge {metric}"
    return set(re.findall(r'"(\w+)" =>', labels[1]))
