#!/usr/bin/env python3
"""Creates the kit, which a bare machine with an NVIDIA GPU needs to measure lexivec, in pieces for the transfer.

    kit.py --program target/release/lexivec --out target/gpu-kit

It splits two archives into `OUT/part-N/`: `kit` (program, ONNX Runtime with the CUDA provider pruned to one architecture,
nano, these scripts) and `full-library` (the whole CUDA provider, for other GPUs and as a fallback).
Each part has a piece, its digest, and take.py, which unpacks the archive on the other machine.
"""

import argparse
import hashlib
import json
import lzma
import os
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

from prune import prune

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
VERSION = "1.31.1"
PROVIDER = "libonnxruntime_providers_cuda.so"
# Files that the other machine needs, at the same paths as in the repository.
REPOSITORY = ["benches/gpu", "models/nano", "tests/golden/nano.json", "tests/fixtures/random_checkpoint.py"]
# The preset of xz. Compression takes a minute for the kit and three for the whole provider.
PRESET = 6


def library_folder() -> Path:
    """Returns the folder that `make onnxruntime-gpu` fills."""
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Path(os.environ.get("LEXIVEC_CACHE") or home / "lexivec") / "onnxruntime-gpu" / VERSION


def stage_kit(program: Path, folder: Path, architecture: int) -> None:
    """Creates the kit's folder."""
    for name in REPOSITORY:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copyfile(ROOT / name, folder / name)
    (folder / "bin").mkdir()
    # lexivec finds ONNX Runtime in its own folder.
    subprocess.run(["strip", "-o", folder / "bin" / "lexivec", program], check=True)
    libraries = library_folder()
    for name in (f"libonnxruntime.so.{VERSION}", "libonnxruntime_providers_shared.so"):
        shutil.copyfile(libraries / name, folder / "bin" / name)
    kept, blanked = prune(libraries / PROVIDER, folder / "bin" / PROVIDER, architecture)
    print(f"{PROVIDER}: kept {kept / 1e6:.1f} MB of sm_{architecture}, blanked {blanked / 1e6:.1f} MB")


def stage_full_library(folder: Path) -> None:
    """Creates the folder of the fallback."""
    folder.mkdir()
    shutil.copyfile(library_folder() / PROVIDER, folder / PROVIDER)


def pack(folder: Path, archive: Path, compressed: bool) -> str:
    """Writes a reproducible .tar.xz or .tar archive; returns its SHA-256."""

    def anonymous(info: tarfile.TarInfo) -> tarfile.TarInfo:
        info.uid = info.gid = info.mtime = 0
        info.uname = info.gname = ""
        return info

    opened = lzma.open(archive, "wb", preset=PRESET) if compressed else open(archive, "wb")
    with opened as file, tarfile.open(fileobj=file, mode="w") as tar:
        for path in sorted(folder.iterdir()):
            tar.add(path, path.name, filter=anonymous)
    with open(archive, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def cut(name: str, archive: Path, digest: str, size: int, out: Path, first: int) -> int:
    """Splits an archive into parts numbered from `first`; returns the next number."""
    count = -(-archive.stat().st_size // size)
    with open(archive, "rb") as file:
        for number in range(1, count + 1):
            piece = file.read(size)
            folder = out / f"part-{first + number - 1}"
            folder.mkdir(parents=True)
            (folder / "piece").write_bytes(piece)
            part = {"archive": name, "archive_id": digest, "number": number, "of": count}
            part["sha256"] = hashlib.sha256(piece).hexdigest()
            (folder / "part.json").write_text(json.dumps(part, indent=2) + "\n")
            shutil.copyfile(HERE / "take.py", folder / "take.py")
            print(f"{folder}: {name}, piece {number} of {count}, {len(piece) / (1 << 20):.1f} MiB")
    return first + count


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", type=Path, required=True, help="the release build of lexivec")
    parser.add_argument("--out", type=Path, required=True, help="folder of the parts; replaced")
    parser.add_argument("--architecture", type=int, default=90, help="90 is Hopper: H100, H200 (default: 90)")
    parser.add_argument("--piece-mib", type=int, default=36, help="largest piece (default: 36)")
    parser.add_argument("--uncompressed", action="store_true", help="do not compress: takes seconds instead of minutes, and 400 MB")
    parser.add_argument("--no-full-library", action="store_true", help="leave out the whole CUDA provider")
    arguments = parser.parse_args()
    shutil.rmtree(arguments.out, ignore_errors=True)
    arguments.out.mkdir(parents=True)
    number = 1
    with tempfile.TemporaryDirectory(dir=arguments.out) as work:
        archives = [("kit", lambda folder: stage_kit(arguments.program, folder, arguments.architecture))]
        if not arguments.no_full_library:
            archives.append(("full-library", stage_full_library))
        for name, stage in archives:
            folder, archive = Path(work) / name, Path(work) / f"{name}.tar"
            stage(folder)
            digest = pack(folder, archive, not arguments.uncompressed)
            number = cut(name, archive, digest, arguments.piece_mib << 20, arguments.out, number)


if __name__ == "__main__":
    main()
