#!/usr/bin/env python3
"""Takes one piece of the kit on the machine with the GPU, and unpacks the kit once all pieces are there.

    take.py [--work /tmp/lexivec-kit]

Each part's folder has this script, `piece` and `part.json`. The script prints which pieces are still missing. Taking a piece
twice is harmless.
"""

import argparse
import hashlib
import json
import shutil
import sys
import tarfile
from pathlib import Path

HERE = Path(__file__).resolve().parent


def sha256(path: Path) -> str:
    """Returns a file's digest in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class Joined:
    """Reads a sequence of files as one."""

    def __init__(self, files: list[Path]) -> None:
        self.files = [open(path, "rb") for path in files]

    def read(self, size: int) -> bytes:
        """Returns at most `size` bytes, and none at the end of the last file."""
        while self.files:
            if data := self.files[0].read(size):
                return data
            self.files.pop(0).close()
        return b""


def take(work: Path) -> None:
    """Verifies this part's piece and copies it into the work folder."""
    part = json.loads((HERE / "part.json").read_text())
    if (found := sha256(HERE / "piece")) != part["sha256"]:
        sys.exit(f"{HERE / 'piece'} is damaged: sha256 {found}, expected {part['sha256']}. Copy it again.")
    pieces = work / "pieces" / part["archive_id"]
    pieces.mkdir(parents=True, exist_ok=True)
    target = pieces / f"{part['number']:02}"
    shutil.copyfile(HERE / "piece", target.with_suffix(".tmp"))
    target.with_suffix(".tmp").rename(target)
    unpack(part, pieces, work)


def unpack(part: dict, pieces: Path, work: Path) -> None:
    """Unpacks an archive if it is complete. The folder appears complete or not at all."""
    files = [pieces / f"{number:02}" for number in range(1, part["of"] + 1)]
    missing = [str(number) for number, file in enumerate(files, 1) if not file.exists()]
    name = part["archive"]
    if missing:
        print(f"{name}: took piece {part['number']} of {part['of']}; still missing: {', '.join(missing)}")
        return
    if (work / name / "archive_id").is_file() and (work / name / "archive_id").read_text() == part["archive_id"]:
        print(f"{name}: already unpacked")
        return
    shutil.rmtree(work / name, ignore_errors=True)
    shutil.rmtree(work / f"{name}.tmp", ignore_errors=True)
    with tarfile.open(fileobj=Joined(files), mode="r|*") as archive:
        archive.extractall(work / f"{name}.tmp", filter="data")
    (work / f"{name}.tmp" / "archive_id").write_text(part["archive_id"])
    (work / f"{name}.tmp").rename(work / name)
    print(f"{name}: complete in {work / name}")
    if name == "kit":
        print(f"next: python3 {work / name}/benches/gpu/run.py")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path("/tmp/lexivec-kit"), help="default: /tmp/lexivec-kit")
    take(parser.parse_args().work)
