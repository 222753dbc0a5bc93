"""Tests of `make check-dependencies`: dependencies that deny.toml rejects, and advisories with and without a database."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import suite

import dependencies

DATABASE = "https://github.com/RustSec/advisory-db"
ADVISORY = """```toml
[advisory]
id = "RUSTSEC-2099-0001"
package = "PACKAGE"
date = "2020-01-01"
url = "https://example.com"
[versions]
patched = []
```

# A made-up fault

Its description.
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A copy of deny.toml with its own database folder."""
    path = tmp_path / "deny.toml"
    text = (suite.ROOT / "deny.toml").read_text()
    path.write_text(text.replace("[advisories]", f'[advisories]\ndb-path = "{tmp_path / "fetched"}"'))
    return path


def check(config: Path, *options: str, **git: str) -> subprocess.CompletedProcess:
    """Runs the check with git settings, because cargo-deny fetches the database with git."""
    settings = {"GIT_CONFIG_COUNT": str(len(git))}
    for index, (value, key) in enumerate((value, key) for key, value in git.items()):
        settings |= {f"GIT_CONFIG_KEY_{index}": key, f"GIT_CONFIG_VALUE_{index}": value}
    command = [sys.executable, dependencies.__file__, "--config", config, *options]
    return subprocess.run(command, env=os.environ | settings, capture_output=True, text=True)


def unreachable(config: Path, *options: str) -> subprocess.CompletedProcess:
    """Runs the check with a proxy that does not exist, for git alone."""
    return check(config, *options, **{"http.proxy": "http://127.0.0.1:9"})


def with_database(config: Path, package: str) -> subprocess.CompletedProcess:
    """Runs the check with a database that has a single advisory, for `package`."""
    database = config.parent / "database"
    folder = database / "crates" / package
    folder.mkdir(parents=True)
    (folder / "RUSTSEC-2099-0001.md").write_text(ADVISORY.replace("PACKAGE", package))
    author = ["-c", "user.name=test", "-c", "user.email=test@example.com"]
    for words in (["init", "--quiet", "--initial-branch=main"], ["add", "."], [*author, "commit", "--quiet", "-m", "x"]):
        subprocess.run(["git", *words], cwd=database, check=True)
    return check(config, **{f"url.file://{database}.insteadOf": DATABASE})


def test_unchecked_advisories_are_reported(config):
    done = unreachable(config)
    assert done.returncode == 0, done.stderr
    assert dependencies.NOT_CHECKED in done.stderr
    assert "advisories ok" not in done.stdout + done.stderr
    assert "bans ok, licenses ok, sources ok" in done.stdout + done.stderr


def test_advisories_can_be_required(config):
    done = unreachable(config, "--require-advisories")
    assert done.returncode == 1
    assert dependencies.NOT_CHECKED in done.stderr


def test_an_advisory_for_a_dependency_fails(config):
    done = with_database(config, "serde")
    assert done.returncode == 1
    assert "RUSTSEC-2099-0001" in done.stderr and dependencies.NOT_CHECKED not in done.stderr


def test_an_advisory_for_another_crate_passes(config):
    done = with_database(config, "no-dependency-of-lexivec")
    assert done.returncode == 0, done.stderr
    assert "advisories ok" in done.stdout + done.stderr and dependencies.NOT_CHECKED not in done.stderr


@pytest.mark.parametrize(
    ("rule", "stricter", "failed"),
    [
        ('    "BSD-3-Clause",\n', "", "licenses FAILED"),
        ("rust-lang/crates.io-index", "rust-lang/another-index", "sources FAILED"),
        ('multiple-versions = "warn"', 'multiple-versions = "deny"', "bans FAILED"),
    ],
    ids=["licenses", "sources", "bans"],
)
def test_a_dependency_that_violates_a_rule_fails(config, rule, stricter, failed):
    text = config.read_text()
    assert rule in text
    config.write_text(text.replace(rule, stricter))
    done = unreachable(config)
    assert done.returncode == 1
    assert failed in done.stdout + done.stderr
