#!/usr/bin/env python3
"""Puts ONNX Runtime, or an execution provider that is a plugin for it, where lexivec finds it.

Takes the libraries out of the official Python wheel, which pip fetches by version and sha256 (VARIANT.txt beside this
file), into lexivec's cache folder. Does nothing where they are there already, so it runs offline from then on.

    onnxruntime.py [cpu|gpu|openvino|tensorrt-rtx]
"""

import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
RUNTIME = re.compile(r"onnxruntime/capi/(libonnxruntime[^/]*\.so[^/]*)$")
# A plugin finds the libraries that it brings along in its own folder, under their exact names.
PLUGIN = re.compile(r"onnxruntime_ep_[a-z_]+/(lib[^/]*\.so(?:\.[0-9.]+)?|cache\.json)$")


@dataclass(frozen=True)
class Variant:
    """What a wheel is unpacked to."""

    folder: str
    files: re.Pattern[str]


VARIANTS = {
    "cpu": Variant("onnxruntime", RUNTIME),
    "gpu": Variant("onnxruntime-gpu", RUNTIME),
    "openvino": Variant("onnxruntime-openvino", PLUGIN),
    "tensorrt-rtx": Variant("onnxruntime-tensorrt-rtx", PLUGIN),
}


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


def unpack(wheel: Path, files: re.Pattern[str], folder: Path) -> None:
    """Writes a wheel's libraries, with a link for each library's soname: wheels hold no links."""
    folder.mkdir()
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            if match := files.match(name):
                with archive.open(name) as source, open(folder / match[1], "wb") as out:
                    shutil.copyfileobj(source, out)
    for library in sorted(folder.glob("lib*.so.*.*")):
        plain, version = library.name.split(".so.", 1)
        for link in (f"{plain}.so.{version.split('.')[0]}", f"{plain}.so"):
            # ONNX Runtime itself is loaded by its full name, and must not be found twice.
            if not plain.startswith("libonnxruntime") and not (folder / link).exists():
                (folder / link).symlink_to(library.name)


def main() -> None:
    name = sys.argv[1] if len(sys.argv) > 1 else "cpu"
    if name not in VARIANTS or len(sys.argv) > 2:
        sys.exit(f"usage: {sys.argv[0]} [{'|'.join(VARIANTS)}]")
    variant = VARIANTS[name]
    requirements = HERE / f"{name}.txt"
    version = re.search(r"==([0-9.]+)", requirements.read_text()).group(1)
    target = cache_folder() / variant.folder / version
    if target.is_dir():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    print(f"ONNX Runtime ({name} {version}) -> {target}")
    with tempfile.TemporaryDirectory(dir=target.parent) as work:
        unpacked = Path(work) / "library"
        unpack(download(requirements, work), variant.files, unpacked)
        # Whole or not at all: a rename is what makes it visible.
        unpacked.rename(target)


if __name__ == "__main__":
    try:
        main()
    except subprocess.CalledProcessError as error:
        sys.exit(f"pip could not fetch ONNX Runtime (exit code {error.returncode}); its own message is above")
