"""Stage 1: checks that CUDA works and that nano has the right vectors in every precision."""

import json
import os
import platform
import shutil
from importlib import metadata
from pathlib import Path

import numpy as np

from . import machine
from .models import NANO, NANO_MODELS, Model, convert
from .program import Lexivec, free_space
from .results import Skip, Stage, Values
from .settings import KIT, Settings
from .vectors import summary

NAME = "1-nano"


def describe(settings: Settings, lexivec: Lexivec) -> Values:
    """Describes the machine."""
    packages = {}
    for name in ("torch", "transformers", "sentence-transformers", "numpy"):
        try:
            packages[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            packages[name] = "missing"
    missing = [name for name, file in lexivec.libraries.items() if not file and name in machine.NEEDED]
    if missing:
        raise RuntimeError(f"CUDA libraries not found: {', '.join(missing)}; add their folders to LD_LIBRARY_PATH")
    return {
        "card": machine.card(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "packages": packages,
        "libraries": {name: str(file) if file else "missing" for name, file in lexivec.libraries.items()},
        "free_disk_gb": round(free_space(settings.work)),
        "full_library": settings.full_library,
    }


def doctor(lexivec: Lexivec) -> Values:
    """Returns the findings of `lexivec doctor`. Raises RuntimeError with the reason if the provider does not start."""
    findings = json.loads(lexivec.run("doctor", "--ep", "cuda", "--json", accept=(0, 1)))
    if failed := [finding for finding in findings if finding["status"] == "failed"]:
        raise RuntimeError("; ".join(f"{finding['what']}: {finding['value']}" for finding in failed))
    return {"findings": findings}


def golden() -> tuple[list[str], np.ndarray]:
    """Returns texts with their prompts, and their vectors by sentence-transformers in float32.

    Leaves out texts of blanks alone, because `lexivec embed` rejects them.
    """
    cases = json.loads((KIT / "tests" / "golden" / "nano.json").read_text(encoding="utf-8"))["cases"]
    cases = [case for case in cases if case["prompt"].strip()]
    return [case["prompt"] for case in cases], np.array([case["embedding"] for case in cases], np.float32)


def embed(lexivec: Lexivec, model: Path, provider: str, folder: Path) -> np.ndarray:
    """Returns a model's vectors of the golden texts."""
    texts = folder / "golden.jsonl"
    texts.write_text("".join(json.dumps({"text": text}) + "\n" for text in golden()[0]), encoding="utf-8")
    output = folder / "vectors.npy"
    lexivec.run("embed", model, texts, "--output", output, "--ep", provider)
    return np.load(output)


def run(settings: Settings, lexivec: Lexivec, stage: Stage) -> None:
    """Runs all steps."""
    folder = settings.work / "nano"
    folder.mkdir(exist_ok=True)
    stage.step("machine", 5, lambda: describe(settings, lexivec))
    stage.step("doctor", 20, lambda: doctor(lexivec))

    def on_cpu() -> Values:
        model = folder / "cpu-fp32"
        if not model.is_dir():
            lexivec.run("convert", NANO, "--precision", "fp32", "--output", model, "--no-verify")
        vectors = embed(lexivec, model, "cpu", folder)
        np.save(folder / "cpu.npy", vectors)
        return {"to_golden": summary(vectors, golden()[1])}

    def on_gpu(model: Model) -> Values:
        output = folder / model.folder
        # Calibration takes most of the time and has no effect on a device that computes nothing.
        extra = ["--no-calibration"] if settings.dry else []
        seconds = convert(lexivec, NANO, model, output, extra, 120)
        vectors = embed(lexivec, output, "cuda", folder)
        values: Values = {"convert_seconds": seconds, "to_golden": summary(vectors, golden()[1])}
        if (folder / "cpu.npy").exists():
            values["to_cpu_fp32"] = summary(vectors, np.load(folder / "cpu.npy"))
        return values

    def verified() -> Values:
        if settings.dry:
            raise Skip("the stand-in device computes nothing, so no conversion can be verified on it")
        output = folder / "verified"
        shutil.rmtree(output, ignore_errors=True)
        said = lexivec.run("convert", NANO, "--ep", "cuda", "--precision", "fp16", "--output", output)
        return {"said": [line.strip() for line in said.splitlines() if "verified" in line]}

    stage.step("fp32 on the CPU", 20, on_cpu)
    for model in NANO_MODELS:
        stage.step(model.name, 30, lambda: on_gpu(model))
    stage.step("conversion verified where it runs", 30, verified)
