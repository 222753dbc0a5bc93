"""Writes the large checkpoint and converts it, in a process of its own, while the card measures something else."""

import fcntl
import subprocess
import time
from pathlib import Path

from .checkpoint import write
from .models import LARGE_MODELS, Model, checkpoint, convert
from .program import CommandFailed, Lexivec, free_space
from .results import Deadline, OutOfTime, Skip
from .settings import Settings

# GB: checkpoint, two float16 copies, three quantised ones. bf16 links the checkpoint's own files.
DISK_NEEDED = 40
CONVERSION_SECONDS = 900


def failure(settings: Settings, name: str) -> Path:
    """Where the reason stands why something could not be prepared."""
    return settings.models / f"{name}.failed"


def prepare(settings: Settings, lexivec: Lexivec) -> None:
    """Does all that is not done yet. Returns at once if another process does it."""
    settings.models.mkdir(parents=True, exist_ok=True)
    with open(settings.work / "prepare.lock", "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
        started = time.monotonic()
        write(settings, checkpoint(settings))
        print(f"checkpoint: {time.monotonic() - started:.1f} s", flush=True)
        for model in LARGE_MODELS:
            if failure(settings, model.folder).exists():
                continue
            output = settings.models / model.folder
            try:
                # Random weights say nothing about quality, so calibration would be wasted; nano shows it in stage 1.
                extra = ["--no-calibration"]
                seconds = convert(lexivec, checkpoint(settings), model, output, extra, CONVERSION_SECONDS)
                print(f"{model.name}: {seconds} s", flush=True)
            except (Skip, CommandFailed) as error:
                failure(settings, model.folder).write_text(f"{type(error).__name__}: {error}")


class Preparation:
    """The process that prepares, and what it has done."""

    def __init__(self, settings: Settings, deadline: Deadline, command: list[str]) -> None:
        self.settings, self.deadline, self.command = settings, deadline, command

    def start(self) -> None:
        """Starts the process in a session of its own, so that it outlives this command."""
        self.settings.models.mkdir(parents=True, exist_ok=True)
        if not checkpoint(self.settings).is_dir() and not self.settings.dry:
            free = free_space(self.settings.work)
            if free < DISK_NEEDED:
                raise SystemExit(f"{self.settings.work} has {free:.0f} GB free and needs {DISK_NEEDED}: give --work")
        if self.settings.retry:
            for file in self.settings.models.glob("*.failed"):
                file.unlink()
        with open(self.settings.work / "prepare.log", "a") as log:
            subprocess.Popen(
                self.command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )

    def is_running(self) -> bool:
        """Whether a process holds the lock."""
        with open(self.settings.work / "prepare.lock", "a") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
            return False

    def wait_for(self, folder: str) -> Path:
        """Waits for the checkpoint or a model. Raises OutOfTime, Skip, or RuntimeError with the reason."""
        path = self.settings.models / folder
        starts = 0
        while not path.is_dir():
            failed = failure(self.settings, folder)
            if failed.exists():
                kind, _, reason = failed.read_text().partition(": ")
                raise Skip(reason) if kind == "Skip" else RuntimeError(f"conversion: {reason}")
            if not self.is_running():
                if starts == 2:
                    log = (self.settings.work / "prepare.log").read_text(errors="replace").strip()
                    raise RuntimeError(f"preparation ended without {folder}: {log.splitlines()[-1:]}")
                starts += 1
                self.start()
                time.sleep(1)
            if self.deadline.left < 5:
                raise OutOfTime(f"{folder} is still being prepared")
            time.sleep(0.5)
        return path

    def wait(self, model: Model) -> Path:
        """The directory of a model."""
        return self.wait_for(model.folder)
