#!/usr/bin/env python3
"""Writes a CycloneDX 1.6 software bill of materials of lexivec to standard output.

It lists the crates that are linked into the program, with their versions, licences, checksums and dependencies, and the ONNX
Runtime that the program loads. It leaves out crates that only run at compile time (macros, build scripts), the components of
ONNX Runtime, and the packages of the base image, which scanners read from the package database.

    sbom.py cpu|gpu [--tree FILE]

--tree names a file with the output of the command TREE below, so that cargo need not be installed here.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import time
import tomllib
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

ROOT = Path(__file__).resolve().parents[2]
# Names the same --package as the build, so that cargo resolves the same features.
TREE = "cargo tree --locked --package lexivec-server --edges normal,no-proc-macro --prefix depth --format '|{p}|{l}|{r}'"


@dataclass
class Crate:
    """A crate in the output of TREE."""

    name: str
    version: str
    licence: str
    repository: str
    needs: set[str] = field(default_factory=set)

    @property
    def ref(self) -> str:
        """The crate's identifier within the document."""
        return f"{self.name}@{self.version}"


def parse(tree: str) -> dict[str, Crate]:
    """Returns the crates in TREE's output by `ref`, the program first.

    cargo lists a crate's dependencies once and marks each repetition with (*).
    """
    crates: dict[str, Crate] = {}
    above: list[Crate] = []
    for line in tree.splitlines():
        depth, package, licence, repository = line.removesuffix(" (*)").split("|")
        name, version = package.split(" ")[:2]
        # In older crates, a slash means OR.
        crate = Crate(name, version.removeprefix("v"), re.sub(r" ?/ ?", " OR ", licence), repository)
        crate = crates.setdefault(crate.ref, crate)
        del above[int(depth) :]
        if above:
            above[-1].needs.add(crate.ref)
        above.append(crate)
    return crates


def component(crate: Crate, checksums: dict[str, str]) -> dict:
    """Returns a crate as a CycloneDX component. Only crates from crates.io have a checksum and a package URL."""
    fields: dict = {"type": "library", "bom-ref": crate.ref, "name": crate.name, "version": crate.version}
    if checksum := checksums.get(crate.ref):
        fields["purl"] = f"pkg:cargo/{crate.name}@{quote(crate.version, safe='')}"
        fields["hashes"] = [{"alg": "SHA-256", "content": checksum}]
    if crate.licence:
        fields["licenses"] = [{"expression": crate.licence}]
    if crate.repository:
        fields["externalReferences"] = [{"type": "vcs", "url": crate.repository}]
    return fields


def onnxruntime(variant: str) -> dict:
    """Returns the ONNX Runtime that runtime/setup fetches for a variant of the image."""
    requirements = (ROOT / "runtime" / "setup" / f"{variant}.txt").read_text()
    name, version = re.search(r"^(onnxruntime[a-z-]*)==([0-9.]+)", requirements, re.MULTILINE).groups()
    purl = f"pkg:pypi/{name}@{version}"
    licences = [{"license": {"id": "MIT"}}]
    return {"type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl, "licenses": licences}


def document(tree: str, variant: str) -> dict:
    """Returns the bill of materials."""
    locked = tomllib.loads((ROOT / "Cargo.lock").read_text())["package"]
    checksums = {f"{item['name']}@{item['version']}": item["checksum"] for item in locked if "checksum" in item}
    program, *crates = parse(tree).values()
    runtime = onnxruntime(variant)
    dependencies = [{"ref": crate.ref, "dependsOn": sorted(crate.needs)} for crate in (program, *crates)]
    dependencies[0]["dependsOn"].append(runtime["bom-ref"])
    contents = {
        "components": [*(component(crate, checksums) for crate in crates), runtime],
        "dependencies": [*dependencies, {"ref": runtime["bom-ref"]}],
    }
    moment = datetime.fromtimestamp(int(os.environ.get("SOURCE_DATE_EPOCH", time.time())), UTC)
    metadata = {
        "timestamp": moment.isoformat(timespec="seconds").replace("+00:00", "Z"),
        "lifecycles": [{"phase": "build"}],
        "tools": {"components": [{"type": "application", "name": "server/deploy/sbom.py"}]},
        "component": component(program, checksums) | {"type": "application", "name": "lexivec"},
    }
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        # Equal contents have equal serial numbers.
        "serialNumber": uuid.uuid5(uuid.NAMESPACE_URL, json.dumps(contents)).urn,
        "version": 1,
        "metadata": metadata,
        **contents,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("variant", choices=["cpu", "gpu"], help="which ONNX Runtime")
    parser.add_argument("--tree", type=Path, help="output of the command TREE; default: runs it")
    arguments = parser.parse_args()
    if arguments.tree:
        tree = arguments.tree.read_text()
    else:
        tree = subprocess.run(TREE, shell=True, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout
    json.dump(document(tree, arguments.variant), sys.stdout, indent=1)
    print()


if __name__ == "__main__":
    try:
        main()
    except subprocess.CalledProcessError as error:
        sys.exit(f"cargo tree failed with exit code {error.returncode}; its own message is above")
