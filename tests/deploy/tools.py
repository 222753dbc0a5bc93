"""Finds Prometheus, promtool and nginx on this machine, or unpacks Debian's packages into the cache folder."""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import suite


# The package and the folder of each program.
PACKAGES = {"prometheus": ("prometheus", "usr/bin"), "promtool": ("prometheus", "usr/bin"), "nginx": ("nginx", "usr/sbin")}


def program(name: str) -> str:
    """Returns the path of a program in `PACKAGES`.

    The package is unpacked and not installed, because that needs no root and starts no service.
    """
    if path := shutil.which(name):
        return path
    package, place = PACKAGES[name]
    folder = suite.cache() / "deploy" / package
    if not folder.is_dir():
        if shutil.which("apt-get") is None:
            raise RuntimeError(f"{name} is missing: install {package} and put it on PATH")
        unpack(package, folder)
    return str(folder / place / name)


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
