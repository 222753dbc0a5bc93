"""Writes the large checkpoint and converts it in a second process, while the card measures other stages."""

import fcntl
import subprocess
import time
from pathlib import Path

from .checkpoint import write
from .models import LARGE_MODELS, Model, checkpoint, convert
from .program import CommandFailed, Lexivec, free_space
from .results import Deadline, OutOfTime, Skip
from .settings import Settings

# GB for the checkpoint, two float16 copies and three quantised ones. bf16 links the checkpoint's files.
DISK_NEEDED = 40
CONVERSION_SECONDS = 900


def failure(settings: Settings, name: str) -> Path:
    """Returns the file with the reason for a failed preparation."""
    return settings.models / f"{name}.failed"


def prepare(settings: Settings, lexivec: Lexivec) -> None:
    """Writes and converts everything that is missing. Returns at once if another process is doing it."""
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
                # Calibration is useless for random weights. Stage 1 measures calibrated models of nano.
                extra = ["--no-calibration"]
                seconds = convert(lexivec, checkpoint(settings), model, output, extra, CONVERSION_SECONDS)
                print(f"{model.name}: {seconds} s", flush=True)
            except (Skip, CommandFailed) as error:
                failure(settings, model.folder).write_text(f"{type(error).__name__}: {error}")


class Preparation:
    """The process that prepares models, and the models that are ready."""

    def __init__(self, settings: Settings, deadline: Deadline, command: list[str]) -> None:
        self.settings, self.deadline, self.command = settings, deadline, command

    def start(self) -> None:
        """Starts the process in a new session, so that it outlives this command."""
        self.settings.models.mkdir(parents=True, exist_ok=True)
        if not checkpoint(self.settings).is_dir() and not self.settings.dry:
            free = free_space(self.settings.work)
            if free < DISK_NEEDED:
                raise SystemExit(f"{self.settings.work} has {free:.0f} GB free but needs {DISK_NEEDED}; choose another folder with --work")
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
        """Waits for a model and returns its directory."""
        return self.wait_for(model.folder)
