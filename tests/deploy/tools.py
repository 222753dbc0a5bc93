"""Prometheus, promtool and kubectl: from the machine, else unpacked from Debian's packages into the cache folder."""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

HOME = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
CACHE = Path(os.environ.get("LEXIVEC_CACHE") or HOME / "lexivec") / "deploy"


PACKAGES = {"prometheus": "prometheus", "promtool": "prometheus", "kubectl": "kubernetes-client"}


def program(name: str) -> str:
    """The path of a program of PACKAGES.

    Unpacking, unlike installing, starts no service and needs no root.
    """
    if path := shutil.which(name):
        return path
    package = PACKAGES[name]
    folder = CACHE / package
    if not folder.is_dir():
        if shutil.which("apt-get") is None:
            raise RuntimeError(f"{name} is missing: install it (Debian's package is {package}) and put it on PATH")
        unpack(package, folder)
    return str(folder / "usr" / "bin" / name)


def unpack(package: str, folder: Path) -> None:
    """Downloads a Debian package and unpacks it into `folder`, which appears whole or not at all."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as work:
        download = ["apt-get", "--quiet", "--quiet", "download", package]
        if subprocess.run(download, cwd=work, capture_output=True).returncode != 0:
            # A fresh machine has no package lists, or old ones; fetching them takes root.
            sudo = [] if os.geteuid() == 0 else ["sudo"]
            subprocess.run([*sudo, "apt-get", "--quiet", "--quiet", "update"], check=True)
            subprocess.run(download, cwd=work, check=True)
        (archive,) = Path(work).glob("*.deb")
        subprocess.run(["dpkg", "--extract", archive, Path(work) / "unpacked"], check=True)
        (Path(work) / "unpacked").rename(folder)
