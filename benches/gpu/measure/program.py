"""The lexivec program, run as a user runs it."""

import functools
import os
import re
import shutil
import subprocess
from pathlib import Path

from . import machine
from .settings import KIT, Settings

PROVIDER = "libonnxruntime_providers_cuda.so"


class CommandFailed(Exception):
    """A command that ended with an error; the message is the command's own."""


def binary_folder(settings: Settings) -> Path:
    """The folder of program and libraries: the kit's, or a copy of it with the whole CUDA provider."""
    folder = KIT / "bin"
    if not settings.full_library:
        return folder
    whole = settings.work / "full-library" / PROVIDER
    if not whole.is_file():
        raise SystemExit(f"{whole} is missing: carry the parts of `full-library` first")
    copy = settings.work / "bin-full"
    copy.mkdir(exist_ok=True)
    for file in folder.iterdir():
        source = whole if file.name == PROVIDER else file
        if not (copy / file.name).exists():
            os.link(source, copy / file.name)
    return copy


class Lexivec:
    """The program, with the environment in which it finds CUDA."""

    def __init__(self, settings: Settings) -> None:
        self.path = binary_folder(settings) / "lexivec"
        if not self.path.is_file():
            raise SystemExit(f"{self.path} is missing: run from the unpacked kit, see benches/gpu/README.md")
        self.libraries = machine.libraries(settings.dry)
        self.environment = machine.environment(self.libraries)
        # Calibrations and downloads stay inside the work folder.
        self.environment["LEXIVEC_CACHE"] = str(settings.work / "cache")

    def run(self, *arguments: object, timeout: float = 300, accept: tuple[int, ...] = (0,)) -> str:
        """Runs a subcommand and returns what it printed. Raises CommandFailed with its last lines unless its exit code
        is accepted."""
        command = [str(self.path), *map(str, arguments)]
        try:
            done = subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=timeout)
        except subprocess.TimeoutExpired:
            raise CommandFailed(f"`lexivec {' '.join(command[1:])}` took longer than {timeout:.0f} s") from None
        if done.returncode not in accept:
            said = "\n".join((done.stderr.strip() or done.stdout.strip()).splitlines()[-6:])
            raise CommandFailed(f"`lexivec {' '.join(command[1:])}` exited with {done.returncode}: {said}")
        return done.stdout

    @functools.cache
    def help(self, command: str) -> str:
        """The help text of a subcommand."""
        return self.run(command, "--help")

    def has(self, command: str, flag: str) -> bool:
        """Whether a subcommand knows a flag."""
        return re.search(rf"(^|[\s,]){re.escape(flag)}\b", self.help(command)) is not None


def free_space(folder: Path) -> float:
    """Free space in GB."""
    return shutil.disk_usage(folder).free / 1e9
