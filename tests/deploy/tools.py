"""Programs that no package of requirements.txt brings: from the machine, else unpacked from Debian's packages."""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "lexivec" / "debian"
# The package of each program, with the libraries that a minimal Debian lacks.
PACKAGES = {
    "prometheus": ["prometheus"],
    "promtool": ["prometheus"],
    "redis-server": ["redis-server", "redis-tools", "libjemalloc2", "liblzf1", "libatomic1"],
}


def program(name: str) -> list[str]:
    """The beginning of a command line that runs `name`. Unpacking starts no service and needs no root."""
    if path := shutil.which(name):
        return [path]
    packages = PACKAGES[name]
    folder = CACHE / packages[0]
    if not folder.is_dir():
        unpack(packages, folder)
    libraries = ":".join(str(path) for path in folder.glob("usr/lib/*-linux-gnu"))
    return ["env", f"LD_LIBRARY_PATH={libraries}", str(folder / "usr" / "bin" / name)]


def unpack(packages: list[str], folder: Path) -> None:
    """Downloads Debian packages and unpacks them into `folder`, which appears whole or not at all."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as work:
        download = ["apt-get", "--quiet", "--quiet", "download", *packages]
        if subprocess.run(download, cwd=work, capture_output=True).returncode != 0:
            # A fresh machine has no package lists yet; fetching them takes root.
            subprocess.run(["apt-get", "--quiet", "--quiet", "update"], check=True)
            subprocess.run(download, cwd=work, check=True)
        unpacked = Path(work) / "unpacked"
        for package in Path(work).glob("*.deb"):
            subprocess.run(["dpkg", "--extract", package, unpacked], check=True)
        unpacked.rename(folder)
