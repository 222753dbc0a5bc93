"""Writes the large checkpoint and converts it, in a process of its own, while the card measures something else."""

import fcntl
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

from .models import LARGE_MODELS, Model, checkpoint, convert
from .program import CommandFailed, Lexivec, free_space
from .results import Deadline, OutOfTime, Skip
from .settings import KIT, Settings

LONGEST = 32_768
# GB: checkpoint, two float16 copies, three quantised ones. bf16 links the checkpoint's own files.
DISK_NEEDED = 40
CONVERSION_SECONDS = 900


def failure(settings: Settings, name: str) -> Path:
    """Where the reason stands why something could not be prepared."""
    return settings.models / f"{name}.failed"


def write_checkpoint(settings: Settings) -> None:
    """Writes random weights, and lets the tokenizer accept long texts."""
    target = checkpoint(settings)
    if target.is_dir():
        return
    unfinished = target.with_suffix(".tmp")
    shutil.rmtree(unfinished, ignore_errors=True)
    program = KIT / "tests" / "fixtures" / "random_checkpoint.py"
    subprocess.run([sys.executable, program, *settings.shape, "--out", unfinished], check=True)
    # nano, whose files these are, was trained on 4,096 tokens.
    for name, key in [("sentence_bert_config.json", "max_seq_length"), ("tokenizer_config.json", "model_max_length")]:
        content = json.loads((unfinished / name).read_text())
        content[key] = LONGEST
        (unfinished / name).write_text(json.dumps(content, indent=2) + "\n")
    unfinished.rename(target)


def prepare(settings: Settings, lexivec: Lexivec) -> None:
    """Does all that is not done yet. Returns at once if another process does it."""
    settings.models.mkdir(parents=True, exist_ok=True)
    with open(settings.work / "prepare.lock", "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
        write_checkpoint(settings)
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
