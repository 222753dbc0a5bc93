#!/usr/bin/env python3
"""Packages the published crates as `cargo publish` would, and checks what is in each package: `make check-package`.

    run.py --build    also build each crate from its package (`make package`); all changes must be committed

A published crate is one whose Cargo.toml does not say `publish = false`. Exit code 1 if a check fails.
"""

import argparse
import json
import posixpath
import re
import subprocess
import sys
import tarfile
import tomllib
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "python"))
import suite  # noqa: E402  (needs the path)

REQUIRED = ["description", "license", "readme", "keywords", "categories", "rust_version"]
LICENCES = ["LICENSE-APACHE", "LICENSE-MIT"]
# A package with a checkpoint, pictures or build outputs is larger. crates.io accepts ten times as much.
MOST_BYTES = 1 << 20
# Paths that are composed at compile time, such as those of build outputs, are no literals.
INCLUDE = re.compile(r'\binclude(?:_str|_bytes)?!\s*\(\s*"([^"]+)"')


def profile() -> list[str]:
    """Returns cargo's options for the workspace's profile, so that packages use the dependencies that `make test` built."""

    def options(prefix: str, table: dict) -> Iterator[str]:
        for key, value in table.items():
            if isinstance(value, dict):
                yield from options(f"{prefix}.{key}", value)
            else:
                yield from ("--config", f"{prefix}.{key}={json.dumps(value)}")

    manifest = tomllib.loads((suite.ROOT / "Cargo.toml").read_text())
    return list(options("profile.dev", manifest["profile"]["dev"]))


def workspace() -> dict:
    """Returns cargo's description of the workspace."""
    command = ["cargo", "metadata", "--format-version", "1", "--no-deps", "--locked"]
    return json.loads(subprocess.run(command, cwd=suite.ROOT, check=True, stdout=subprocess.PIPE).stdout)


def outside(sources: dict[str, str], files: set[str]) -> list[str]:
    """Returns the files that sources include by a path that leads to no file of the package."""
    missing = []
    for source, text in sources.items():
        for path in INCLUDE.findall(text):
            included = posixpath.normpath(posixpath.join(posixpath.dirname(source), path))
            if included not in files:
                missing.append(f"{source} includes {path}, which is not in the package")
    return missing


def faults(crate: dict, package: Path) -> list[str]:
    """Returns what is wrong with a crate's package."""
    found = [f"Cargo.toml has no `{field}`" for field in REQUIRED if not crate[field]]
    prefix = f"{crate['name']}-{crate['version']}/"
    with tarfile.open(package) as archive:
        members = {member.name.removeprefix(prefix): member for member in archive if member.isfile()}
        sources = {n: archive.extractfile(m).read().decode() for n, m in members.items() if n.endswith(".rs")}
    wanted = [*LICENCES, "README.md"]
    found += [f"{name} is not in the package" for name in wanted if name not in members]
    found += outside(sources, set(members))
    if (size := package.stat().st_size) > MOST_BYTES:
        largest = max(members, key=lambda name: members[name].size)
        found.append(f"the package has {size} bytes, more than {MOST_BYTES}; its largest file is {largest}")
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", action="store_true", help="build each crate from its package")
    build = parser.parse_args().build
    metadata = workspace()
    crates = [crate for crate in metadata["packages"] if crate["publish"] != []]
    selected = [word for crate in crates for word in ("--package", crate["name"])]
    # The target folder is named because cargo would use one folder for each crate.
    target = Path(metadata["target_directory"])
    how = profile() if build else ["--quiet", "--no-verify", "--allow-dirty"]
    subprocess.run(["cargo", "package", "--locked", "--target-dir", target, *how, *selected], cwd=suite.ROOT, check=True)
    failed = 0
    for crate in crates:
        package = target / "package" / f"{crate['name']}-{crate['version']}.crate"
        found = faults(crate, package)
        print(f"{'FAILED' if found else 'ok':6} {package.name}, {package.stat().st_size // 1024} KiB")
        print("".join(f"       {fault}\n" for fault in found), end="")
        failed += bool(found)
    return 1 if failed else 0


if __name__ == "__main__":
    suite.main(main)
