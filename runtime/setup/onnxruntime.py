#!/usr/bin/env python3
"""Puts the ONNX Runtime library where lexivec finds it.

Takes the library out of the official Python wheel, which pip fetches by version and sha256 (cpu.txt, gpu.txt beside
this file), into lexivec's cache folder. Does nothing where it is there already, so it runs offline from then on.

    onnxruntime.py [cpu|gpu]
"""

import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
FOLDERS = {"cpu": "onnxruntime", "gpu": "onnxruntime-gpu"}
LIBRARY = re.compile(r"onnxruntime/capi/(libonnxruntime[^/]*\.so[^/]*)$")


def cache_folder() -> Path:
    """The folder that lexivec's own look-up uses: LEXIVEC_CACHE, XDG_CACHE_HOME/lexivec, ~/.cache/lexivec."""
    if cache := os.environ.get("LEXIVEC_CACHE"):
        return Path(cache)
    if cache := os.environ.get("XDG_CACHE_HOME"):
        return Path(cache) / "lexivec"
    return Path.home() / ".cache" / "lexivec"


def download(requirements: Path, folder: str) -> Path:
    """Fetches the wheel for Python 3.12, whatever Python runs this: the library in it is the same for all."""
    wheel_tag = f"manylinux_2_28_{platform.machine()}"
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes"]
    command += ["--only-binary=:all:", "--implementation=cp", "--python-version=312"]
    command += [f"--platform={wheel_tag}", f"--dest={folder}", f"--requirement={requirements}"]
    subprocess.run(command, check=True)
    return next(Path(folder).glob("*.whl"))


def main() -> None:
    variant = sys.argv[1] if len(sys.argv) > 1 else "cpu"
    if variant not in FOLDERS or len(sys.argv) > 2:
        sys.exit(f"usage: {sys.argv[0]} [cpu|gpu]")
    requirements = HERE / f"{variant}.txt"
    version = re.search(r"==([0-9.]+)", requirements.read_text()).group(1)
    target = cache_folder() / FOLDERS[variant] / version
    if target.is_dir():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    print(f"ONNX Runtime {version} ({variant}) -> {target}")
    with tempfile.TemporaryDirectory(dir=target.parent) as work:
        wheel = download(requirements, work)
        unpacked = Path(work) / "library"
        unpacked.mkdir()
        with zipfile.ZipFile(wheel) as archive:
            for name in archive.namelist():
                if match := LIBRARY.match(name):
                    with archive.open(name) as source, open(unpacked / match[1], "wb") as out:
                        shutil.copyfileobj(source, out)
        # Whole or not at all: a rename is what makes it visible.
        unpacked.rename(target)


if __name__ == "__main__":
    try:
        main()
    except subprocess.CalledProcessError as error:
        sys.exit(f"pip could not fetch ONNX Runtime (exit code {error.returncode}); its own message is above")
