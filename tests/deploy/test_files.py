"""Tests that check the files of server/deploy, and the images of server/sql, with the tools that read them, and against each other."""

import ipaddress
import os
import re
import subprocess

import pytest
import suite
import yaml

import deploy
import tools
from deploy import DEPLOY

SQL = suite.ROOT / "server" / "sql"


def run(*command: object, **environment: str) -> str:
    """Runs a command, which must succeed, and returns its output."""
    done = subprocess.run(
        [str(word) for word in command], cwd=suite.ROOT, env=os.environ | environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def seconds(duration: str) -> int:
    """The seconds of a duration such as `40s` in compose.yaml."""
    return int(re.fullmatch(r"(\d+)s", duration)[1])


def size(text: str) -> int:
    """The bytes of a size such as `1280m` in compose.yaml or `1gb` in Redis' settings."""
    number, unit = re.fullmatch(r"(\d+)([kmg])b?", text).groups()
    return int(number) << {"k": 10, "m": 20, "g": 30}[unit]


def test_dockerfiles():
    run("hadolint", DEPLOY / "Dockerfile", SQL / "Dockerfile")
    # They are renewed together.
    ours = re.findall(r"^ARG (\w+_IMAGE)=(\S+)$", (SQL / "Dockerfile").read_text(), re.MULTILINE)
    assert ours and set(ours) <= set(base_images().items())


def test_every_image_has_a_digest():
    """A registry can move a tag, so each image that is not built here has a version and a digest."""
    services = deploy.compose()["services"].items()
    images = {name: service["image"] for name, service in services if "build" not in service}
    images |= base_images()
    assert len(images) == 7
    for name, image in images.items():
        assert re.search(r":[\w.-]*(\d|bookworm)[\w.-]*@sha256:[0-9a-f]{64}$", image), f"{name}: {image}"


def base_images() -> dict[str, str]:
    """The Dockerfile's base images by build argument."""
    text = (DEPLOY / "Dockerfile").read_text()
    head = text[: text.index("\nFROM ")]
    return dict(re.findall(r"^ARG (\w+_IMAGE)=(\S+)$", head, re.MULTILINE))


def test_every_base_image_is_a_build_argument():
    """So that a build can take another image without an edit; the README names all arguments."""
    text = (DEPLOY / "Dockerfile").read_text()
    bases = re.findall(r"^FROM (\S+)(?: AS (\S+))?$", text, re.MULTILINE)
    stages = {name for _, name in bases} | {"base-${VARIANT}"}
    used = {base for base, _ in bases if base not in stages}
    assert used == {f"${{{name}}}" for name in base_images()}
    for name in base_images():
        assert re.search(rf"\b{name}\b", (DEPLOY / "README.md").read_text()), name


@pytest.mark.parametrize("variants", [["compose.yaml"], ["compose.yaml", "compose.cuda.yaml"]], ids=len)
def test_compose(variants):
    files = [word for name in variants for word in ("--file", DEPLOY / name)]
    resolved = yaml.safe_load(run("docker-compose", *files, "config"))
    mounts = [mount for service in resolved["services"].values() for mount in service.get("volumes", [])]
    for mount in mounts:
        assert mount["type"] == "volume" or os.path.exists(mount["source"]), mount["source"]


def test_compose_of_sql(tmp_path):
    given = {"MODEL": "/data/nano", "DATA": str(tmp_path)}
    resolved = yaml.safe_load(run("docker-compose", "--file", SQL / "compose.yaml", "--profile", "query", "config", **given))
    for name, service in resolved["services"].items():
        assert service["cap_drop"] == ["ALL"] and service["read_only"], name
        assert any(mount["target"] == "/data" and mount["source"] == str(tmp_path) for mount in service["volumes"]), name


@pytest.mark.parametrize("name", deploy.KUSTOMIZATIONS)
def test_kubernetes_manifests_fit_the_api(name, tmp_path):
    built = tmp_path / "manifests.yaml"
    built.write_text(yaml.safe_dump_all(deploy.manifests(name)))
    run("kubernetes-validate", "--strict", built)


def test_prometheus_configuration_and_rules():
    promtool = tools.program("promtool")
    # Debian's promtool is built without Kubernetes' service discovery, which kubernetes.yml uses. test_live.py runs the rest.
    run(promtool, "check", "config", DEPLOY / "prometheus" / "prometheus.yml")
    run(promtool, "test", "rules", DEPLOY / "prometheus" / "alerts_test.yml")


def test_every_alert_is_tested():
    tests = yaml.safe_load((DEPLOY / "prometheus" / "alerts_test.yml").read_text())
    samples = [sample for test in tests["tests"] for item in test["promql_expr_test"] for sample in item["exp_samples"]]
    fired = {re.search(r'alertname="(\w+)"', sample["labels"])[1] for sample in samples}
    rules = yaml.safe_load((DEPLOY / "prometheus" / "alerts.yml").read_text())
    assert fired == {rule["alert"] for group in rules["groups"] for rule in group["rules"]}


def test_prometheus_scrapes_the_service_of_compose():
    config = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())
    (job,) = config["scrape_configs"]
    service, port = job["static_configs"][0]["targets"][0].split(":")
    published = deploy.compose()["services"][service]["ports"][0]
    assert published.endswith(f":{port}:{port}")
    assert f"EXPOSE {port}\n" in (DEPLOY / "Dockerfile").read_text()


def test_dashboard_is_well_formed():
    everything = deploy.dashboard()["panels"]
    ids = [panel["id"] for panel in everything]
    assert len(ids) == len(set(ids))
    taken = set()
    for panel in everything:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, f"{panel['title']} overlaps another panel"
        assert place["x"] + place["w"] <= 24, f"{panel['title']} is outside the grid"
        taken |= cells
    for panel in deploy.panels():
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}, panel["title"]
        letters = [target["refId"] for target in panel["targets"]]
        assert len(letters) == len(set(letters)), panel["title"]


def test_grafana_finds_dashboard_and_data_source():
    provisioning = DEPLOY / "grafana" / "provisioning"
    (provider,) = yaml.safe_load((provisioning / "dashboards" / "lexivec.yml").read_text())["providers"]
    grafana = deploy.compose()["services"]["grafana"]
    mounts = dict(volume.split(":")[:2] for volume in grafana["volumes"])
    assert mounts["./grafana/lexivec.json"] == f"{provider['options']['path']}/lexivec.json"
    assert grafana["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"] == mounts["./grafana/lexivec.json"]
    (source,) = yaml.safe_load((provisioning / "datasources" / "prometheus.yml").read_text())["datasources"]
    assert source["url"].removeprefix("http://").split(":")[0] in deploy.compose()["services"]


def test_every_variable_is_one_that_the_program_reads():
    known = set()
    for subcommand in ("serve", "convert"):
        known |= set(re.findall(r"\[env: (LEXIVEC_\w+)", run(deploy.PROGRAM, subcommand, "--help")))
    known |= {"LEXIVEC_CACHE"}  # has no flag
    files = [DEPLOY / "Dockerfile", DEPLOY / "healthcheck.sh", *DEPLOY.glob("**/*.yaml")]
    for file in files:
        used = set(re.findall(r"\bLEXIVEC_\w+", file.read_text()))
        assert used <= known, f"{file.name}: {sorted(used - known)}"


def test_time_to_stop_is_longer_than_the_server_takes():
    variables = {item["name"]: item.get("value") for item in deploy.container("base", "Deployment")["env"]}
    needed = int(variables["LEXIVEC_SHUTDOWN_DELAY"]) + int(variables["LEXIVEC_SHUTDOWN_TIMEOUT"])
    pod = deploy.manifest("base", "Deployment")["spec"]["template"]["spec"]
    assert pod["terminationGracePeriodSeconds"] > needed
    service = deploy.compose()["services"]["lexivec"]
    assert seconds(service["stop_grace_period"]) > int(service["environment"]["LEXIVEC_SHUTDOWN_TIMEOUT"])


def test_services_of_compose_are_locked_down():
    for name, service in deploy.compose()["services"].items():
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert "cap_add" not in service and "privileged" not in service, name
        assert service["mem_limit"], name


def test_redis_of_compose_writes_nothing_and_is_bounded():
    redis = deploy.compose()["services"]["redis"]
    assert redis["user"] == "redis" and redis["read_only"] is True
    # The image's working folder, which would otherwise be a volume.
    assert redis["tmpfs"] == ["/data"] and "volumes" not in redis and "ports" not in redis
    program, *words = redis["command"]
    settings = dict(zip(words[::2], words[1::2], strict=True))
    assert program == "redis-server" and settings["--maxmemory-policy"] == "allkeys-lru"
    assert settings["--save"] == "" and settings["--appendonly"] == "no"
    # maxmemory excludes fragmentation and client buffers.
    assert size(redis["mem_limit"]) >= 1.25 * size(settings["--maxmemory"])


@pytest.mark.parametrize(("name", "kind"), [("base", "Deployment"), ("cuda", "Deployment"), ("convert", "Job")])
def test_pods_are_locked_down(name, kind):
    pod = deploy.manifest(name, kind)["spec"]["template"]["spec"]
    # With service links, a Service named lexivec would set LEXIVEC_PORT=tcp://….
    assert pod["enableServiceLinks"] is False
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"]["type"] == "RuntimeDefault"
    own = deploy.container(name, kind)["securityContext"]
    assert own["readOnlyRootFilesystem"] is True and own["allowPrivilegeEscalation"] is False
    assert own["capabilities"]["drop"] == ["ALL"]


DNS = deploy.Peer({"k8s-app": "kube-dns"}, {"kubernetes.io/metadata.name": "kube-system"})
PROMETHEUS = deploy.Peer({"app.kubernetes.io/name": "prometheus"}, {"kubernetes.io/metadata.name": "monitoring"})
REDIS = deploy.Peer({"app.kubernetes.io/name": "redis"}, {}, same_namespace=True)
CLIENT = deploy.Peer({"lexivec-client": "true"}, {}, same_namespace=True)
CLIENT_ELSEWHERE = deploy.Peer({"lexivec-client": "true"}, {"lexivec-client": "true"})
STRANGER = deploy.Peer({"app.kubernetes.io/name": "other"}, {"kubernetes.io/metadata.name": "x"}, same_namespace=True)


@pytest.mark.parametrize(
    ("direction", "peer", "port", "protocol"),
    [
        ("ingress", CLIENT, "http", "TCP"),
        ("ingress", CLIENT_ELSEWHERE, "http", "TCP"),
        ("ingress", PROMETHEUS, "http", "TCP"),
        ("egress", DNS, 53, "UDP"),
        ("egress", DNS, 53, "TCP"),
        ("egress", REDIS, 6379, "TCP"),
    ],
)
def test_network_policy_admits_named_peers_on_their_ports(direction, peer, port, protocol):
    policy = deploy.manifest("base", "NetworkPolicy")
    assert deploy.admits(policy, direction, peer, port, protocol)
    other = "egress" if direction == "ingress" else "ingress"
    assert not deploy.admits(policy, other, peer, port, protocol)
    assert not deploy.admits(policy, direction, peer, 22, protocol)
    # Neither the pod's labels nor the namespace's labels suffice alone.
    assert not deploy.admits(policy, direction, deploy.Peer(peer.pod, {}), port, protocol)
    assert not deploy.admits(policy, direction, deploy.Peer({}, peer.namespace, peer.same_namespace), port, protocol)
    assert not deploy.admits(policy, direction, STRANGER, port, protocol)


def test_network_policies_select_their_pods():
    for name, kind in [("base", "Deployment"), ("cuda", "Deployment"), ("convert", "Job")]:
        policy = deploy.manifest(name, "NetworkPolicy")["spec"]
        labels = deploy.manifest(name, kind)["spec"]["template"]["metadata"]["labels"]
        assert policy["podSelector"]["matchLabels"].items() <= labels.items()
        assert set(policy["policyTypes"]) == {"Ingress", "Egress"}
    assert {item["name"] for item in deploy.container("base", "Deployment")["ports"]} == {"http"}


def test_network_policies_admit_addresses_for_downloads_alone():
    def blocks(name):
        policy = deploy.manifest(name, "NetworkPolicy")["spec"]
        rules = [*policy.get("ingress", []), *policy["egress"]]
        ends = [(end, rule["ports"]) for rule in rules for end in rule.get("from") or rule["to"]]
        return [(end["ipBlock"], ports) for end, ports in ends if "ipBlock" in end]

    assert not blocks("base")
    metadata = ipaddress.ip_address("169.254.169.254")
    for block, ports in blocks("convert"):
        assert ports == [{"port": 443, "protocol": "TCP"}]
        nets = [ipaddress.ip_network(net) for net in block["except"]]
        assert ipaddress.ip_network(block["cidr"]).version == 6 or any(metadata in net for net in nets)
    assert len(blocks("convert")) == 2
    convert = deploy.manifest("convert", "NetworkPolicy")
    assert deploy.admits(convert, "egress", DNS, 53, "UDP")
    assert not any(deploy.admits(convert, "ingress", peer, "http") for peer in (CLIENT, PROMETHEUS, STRANGER))


def test_gpu_pods_ask_for_a_gpu():
    limits = deploy.container("cuda", "Deployment")["resources"]["limits"]
    assert limits["nvidia.com/gpu"] == 1


def test_autoscaler_scales_by_what_the_adapter_serves():
    (metric,) = deploy.manifest("base", "HorizontalPodAutoscaler")["spec"]["metrics"]
    served = [query.expr.partition("{")[0] for query in deploy.adapter_queries() if "seriesQuery" in query.place]
    assert metric["pods"]["metric"]["name"] in served
