#!/usr/bin/env python3
"""Blanks the machine code of every GPU architecture but one in a CUDA library.

    prune.py LIBRARY OUT [--architecture 90]

ONNX Runtime's CUDA provider has each kernel for six architectures, of which a GPU needs one. Blanked code compresses to
almost nothing, so the library shrinks from 284 MB to 53 MB of xz. Its size, symbols and offsets do not change.

The section `.nv_fatbin` is a series of containers (magic number, header, entries). An entry starts with its kind (1 for PTX,
2 for machine code), the size of its header and the size of its payload. The architecture is at byte 28.
"""

import argparse
import shutil
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from mmap import mmap
from pathlib import Path

MAGIC = 0xBA55ED50
SECTIONS = (".nv_fatbin", "__nv_relfatbin")
MACHINE_CODE = 2


@dataclass(frozen=True)
class Entry:
    """Code for one architecture."""

    kind: int
    architecture: int
    start: int
    size: int


def sections(library: mmap) -> Iterator[tuple[int, int]]:
    """Yields start and end of each section with GPU code (64-bit little-endian ELF)."""
    (table,) = struct.unpack_from("<Q", library, 40)
    entry_size, count, names = struct.unpack_from("<HHH", library, 58)
    headers = [struct.unpack_from("<IIQQQQIIQQ", library, table + i * entry_size) for i in range(count)]
    name_table = headers[names][4]
    for header in headers:
        start = name_table + header[0]
        if library[start : library.find(b"\0", start)].decode() in SECTIONS:
            yield header[4], header[4] + header[5]


def entries(library: mmap) -> Iterator[Entry]:
    """Yields the entries of all containers."""
    for offset, end in sections(library):
        while offset + 16 <= end:
            magic, _, header_size, size = struct.unpack_from("<IHHQ", library, offset)
            if magic != MAGIC:
                offset += 8  # padding between containers
                continue
            place = offset + header_size
            offset = place + size
            while place < offset:
                kind, _, entry_header, payload = struct.unpack_from("<HHIQ", library, place)
                (architecture,) = struct.unpack_from("<I", library, place + 28)
                yield Entry(kind, architecture, place + entry_header, payload)
                place += entry_header + payload
            offset = (offset + 7) // 8 * 8


def prune(source: Path, target: Path, architecture: int) -> tuple[int, int]:
    """Copies a library and blanks the code for other architectures; returns the bytes of code kept and blanked.

    Raises ValueError if the library has no code for the architecture, because the result could run no kernel.
    """
    shutil.copyfile(source, target)
    kept = blanked = 0
    with open(target, "r+b") as file, mmap(file.fileno(), 0) as library:
        for entry in list(entries(library)):
            if entry.kind == MACHINE_CODE and entry.architecture == architecture:
                kept += entry.size
            else:
                library[entry.start : entry.start + entry.size] = bytes(entry.size)
                blanked += entry.size
    if not kept:
        target.unlink()
        raise ValueError(f"{source} has no machine code for sm_{architecture}")
    return kept, blanked


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("library", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--architecture", type=int, default=90, help="90 is Hopper: H100, H200 (default: 90)")
    arguments = parser.parse_args()
    kept, blanked = prune(arguments.library, arguments.out, arguments.architecture)
    print(f"kept {kept / 1e6:.1f} MB of sm_{arguments.architecture}, blanked {blanked / 1e6:.1f} MB")
