"""Finds Prometheus and promtool on this machine, or unpacks Debian's package into the cache folder."""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import suite


def program(name: str) -> str:
    """Returns the path of `prometheus` or `promtool`.

    The package is unpacked and not installed, because that needs no root and starts no service.
    """
    if path := shutil.which(name):
        return path
    folder = suite.cache() / "deploy" / "prometheus"
    if not folder.is_dir():
        if shutil.which("apt-get") is None:
            raise RuntimeError(f"{name} is missing: install Prometheus 2.42 or newer and put it on PATH")
        unpack("prometheus", folder)
    return str(folder / "usr" / "bin" / name)


def unpack(package: str, folder: Path) -> None:
    """Downloads a Debian package and unpacks it into `folder`. The folder appears complete or not at all."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as work:
        download = ["apt-get", "--quiet", "--quiet", "download", package]
        if subprocess.run(download, cwd=work, capture_output=True).returncode != 0:
            # A fresh machine has old package lists or none. Fetching them needs root.
            sudo = [] if os.geteuid() == 0 else ["sudo"]
            subprocess.run([*sudo, "apt-get", "--quiet", "--quiet", "update"], check=True)
            subprocess.run(download, cwd=work, check=True)
        (archive,) = Path(work).glob("*.deb")
        subprocess.run(["dpkg", "--extract", archive, Path(work) / "unpacked"], check=True)
        (Path(work) / "unpacked").rename(folder)
