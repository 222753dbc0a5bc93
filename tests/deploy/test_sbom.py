"""Tests that hold the image's bill of materials against CycloneDX's schema, Cargo.lock, cargo and the program."""

import importlib.util
import json
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import suite
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

import deploy

SCRIPT = deploy.DEPLOY / "sbom.py"
PATH = "/usr/local/share/sbom/lexivec.cdx.json"
# The location of a panic, which the compiler writes into the program.
CRATE_SOURCE = re.compile(rb"/registry/src/[^/\0]+/([A-Za-z0-9_-]+?)-(\d+\.\d+\.\d+[A-Za-z0-9.+-]*)/")


def script():
    """Imports server/deploy/sbom.py as a module."""
    spec = importlib.util.spec_from_file_location("sbom", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    # Dataclasses look up their module in sys.modules.
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


SBOM = script()


@pytest.fixture(scope="module", params=["cpu", "gpu"])
def variant(request) -> str:
    return request.param


@pytest.fixture(scope="module")
def text(variant, tmp_path_factory) -> str:
    """The document, created as the Dockerfile does: without cargo, from the files that the Dockerfile copies."""
    work = tmp_path_factory.mktemp("image")
    for name in ("server/deploy/sbom.py", "Cargo.lock", "runtime/setup"):
        (work / name).parent.mkdir(parents=True, exist_ok=True)
        (shutil.copytree if (suite.ROOT / name).is_dir() else shutil.copy)(suite.ROOT / name, work / name)
    tree = subprocess.run(SBOM.TREE, shell=True, cwd=suite.ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout
    (work / "tree.txt").write_text(tree)
    command = [sys.executable, work / "server/deploy/sbom.py", variant, "--tree", work / "tree.txt"]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env={"PATH": ""}).stdout


@pytest.fixture(scope="module")
def document(text) -> dict:
    return json.loads(text)


@pytest.fixture(scope="module")
def crates(document) -> dict[tuple[str, str], dict]:
    """The components from crates.io, by name and version."""
    found = [item for item in document["components"] if item.get("purl", "").startswith("pkg:cargo/")]
    return {(item["name"], item["version"]): item for item in found}


def locked() -> dict[tuple[str, str], str]:
    """Returns the checksums in Cargo.lock, by name and version."""
    packages = tomllib.loads((suite.ROOT / "Cargo.lock").read_text())["package"]
    return {(item["name"], item["version"]): item["checksum"] for item in packages if "checksum" in item}


def test_the_document_fits_the_schema(text):
    error = JsonStrictValidator(SchemaVersion.V1_6).validate_str(text)
    assert error is None, error


def test_the_document_has_the_fields_that_readers_need(document, variant):
    assert document["bomFormat"] == "CycloneDX" and document["specVersion"] == "1.6" and document["version"] == 1
    assert document["serialNumber"].startswith("urn:uuid:")
    metadata = document["metadata"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", metadata["timestamp"]) and metadata["tools"]
    workspace = tomllib.loads((suite.ROOT / "Cargo.toml").read_text())["workspace"]["package"]
    program = metadata["component"]
    assert (program["type"], program["name"], program["version"]) == ("application", "lexivec", workspace["version"])
    for item in document["components"]:
        assert {"type", "bom-ref", "name", "version", "licenses"} <= item.keys(), item["name"]
        assert "purl" in item or item["name"].startswith("lexivec"), item["name"]
    (runtime,) = [item for item in document["components"] if item["name"].startswith("onnxruntime")]
    line = (suite.ROOT / "runtime" / "setup" / f"{variant}.txt").read_text()
    assert f"{runtime['name']}=={runtime['version']} " in line
    assert runtime["name"] == {"cpu": "onnxruntime", "gpu": "onnxruntime-gpu"}[variant]


def test_the_document_lists_every_crate_in_the_program(crates):
    found = set(CRATE_SOURCE.findall(Path(deploy.PROGRAM).read_bytes()))
    contained = {(name.decode(), version.decode()) for name, version in found}
    assert len(contained) > 100, "the program no longer contains the paths of its crates"
    assert contained <= crates.keys(), sorted(contained - crates.keys())


def test_the_document_lists_the_crates_that_cargo_links(crates):
    command = ["cargo", "tree", "--locked", "--package=lexivec-server", "--edges=normal,no-proc-macro", "--prefix=none"]
    listed = subprocess.run(command, cwd=suite.ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout
    linked = {tuple(line.split(" ")[:2]) for line in listed.splitlines() if " (/" not in line}
    assert {(name, f"v{version}") for name, version in crates} == linked


def test_checksums_match_the_lock_file(crates):
    checksums = locked()
    assert crates.keys() <= checksums.keys()
    for key, item in crates.items():
        assert item["hashes"] == [{"alg": "SHA-256", "content": checksums[key]}], key


def test_every_component_is_a_dependency_of_the_program(document):
    edges = {item["ref"]: item.get("dependsOn", []) for item in document["dependencies"]}
    reached, waiting = set(), [document["metadata"]["component"]["bom-ref"]]
    while waiting:
        ref = waiting.pop()
        if ref not in reached:
            reached.add(ref)
            waiting += edges[ref]
    refs = {item["bom-ref"] for item in document["components"]}
    assert reached == refs | {document["metadata"]["component"]["bom-ref"]}


def test_equal_inputs_give_equal_documents(monkeypatch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "0")
    tree = "0|lexivec-server v1.0.0 (/src/server)|MIT|\n1|a v1.0.0|MIT/Apache-2.0|https://example.com\n1|a v1.0.0|MIT| (*)\n"
    first = SBOM.document(tree, "cpu")
    assert first == SBOM.document(tree, "cpu") and first["metadata"]["timestamp"] == "1970-01-01T00:00:00Z"
    assert first["components"][0]["licenses"] == [{"expression": "MIT OR Apache-2.0"}]


def test_the_image_has_the_document_where_the_readme_says():
    dockerfile = (deploy.DEPLOY / "Dockerfile").read_text()
    assert f"&& {SBOM.TREE} > /tree.txt\n" in dockerfile
    folder, name = PATH.rsplit("/", 1)
    assert f"COPY --from=sbom /{name} {folder}/\n" in dockerfile
    assert PATH in (deploy.DEPLOY / "README.md").read_text()
    # The build context excludes all other files of this folder.
    assert "\n!server/deploy/sbom.py\n" in (deploy.DEPLOY / "Dockerfile.dockerignore").read_text()
