"""Runs the lexivec program as a user would."""

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
    """A command ended with an error, whose message this exception has."""


def binary_folder(settings: Settings) -> Path:
    """Returns the folder of program and libraries: the kit's, or a copy with the whole CUDA provider."""
    folder = KIT / "bin"
    if not settings.full_library:
        return folder
    whole = settings.work / "full-library" / PROVIDER
    if not whole.is_file():
        raise SystemExit(f"{whole} is missing: take the parts of `full-library` first")
    copy = settings.work / "bin-full"
    copy.mkdir(exist_ok=True)
    for file in folder.iterdir():
        source = whole if file.name == PROVIDER else file
        if not (copy / file.name).exists():
            os.link(source, copy / file.name)
    return copy


class Lexivec:
    """The program and the environment in which it finds CUDA."""

    def __init__(self, settings: Settings) -> None:
        self.path = binary_folder(settings) / "lexivec"
        if not self.path.is_file():
            raise SystemExit(f"{self.path} is missing: run from the unpacked kit, see benches/gpu/README.md")
        self.libraries = machine.libraries(settings.dry)
        self.environment = machine.environment(self.libraries)
        # Keeps calibrations and downloads in the work folder.
        self.environment["LEXIVEC_CACHE"] = str(settings.work / "cache")

    def run(self, *arguments: object, timeout: float = 300, accept: tuple[int, ...] = (0,)) -> str:
        """Runs a subcommand and returns its output.

        Raises CommandFailed with the last lines of the output if the exit code is not in `accept`.
        """
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
        """Returns the help text of a subcommand."""
        return self.run(command, "--help")

    def has(self, command: str, flag: str) -> bool:
        """Whether a subcommand has a flag."""
        return re.search(rf"(^|[\s,]){re.escape(flag)}\b", self.help(command)) is not None


def free_space(folder: Path) -> float:
    """Returns a folder's free space in GB."""
    return shutil.disk_usage(folder).free / 1e9
