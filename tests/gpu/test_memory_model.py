"""Tests of the memory model: predictions against peaks, budgets on small cards, and rejected models and budgets.

The 4B checkpoint is sparse and the bf16 graphs refer to its files, so the 8 GB of weights take no disk space.
"""

import json
import os
import re
import subprocess
from pathlib import Path

import pytest

from conftest import Models
from program import PROGRAM, Device
from recorded import Form
from test_memory import texts

GB = 1_000_000_000
STANDARD, GROUPED = Form("bf16", "standard"), Form("bf16", "grouped")
# With four layers, activations are most of the memory, so the tolerance limits their error. Two layers would not show this,
# because only last tokens go through the last layer's matrix multiplications.
CASES = [("4B", STANDARD), ("4B, four layers", STANDARD), ("4B, four layers", GROUPED)]


def lexivec(device: Device, *arguments: object, memory_gb: float = 80) -> subprocess.CompletedProcess[str]:
    """Runs the program, which may fail, on a card of this size."""
    environment = device.environment(device.folder / "device.log", memory=int(memory_gb * GB))
    return subprocess.run([PROGRAM, *map(str, arguments)], env=environment, capture_output=True, text=True)


def prediction(device: Device, model: Path, memory_gb: float = 80) -> tuple[float, float, int, int]:
    """Returns the prediction of `doctor`: GB of weights and of activations, tokens of a batch and of a text."""
    done = lexivec(device, "doctor", model, "--ep", "cuda", "--json", memory_gb=memory_gb)
    (value,) = (finding["value"] for finding in json.loads(done.stdout) if finding["what"] == "model")
    numbers = re.search(r"([\d.]+) GB of weights, up to ([\d.]+) GB .* (\d+) tokens; texts of up to (\d+)", value)
    assert numbers, value
    return float(numbers[1]), float(numbers[2]), int(numbers[3]), int(numbers[4])


@pytest.mark.parametrize("name, form", CASES, ids=str)
def test_a_full_padded_batch_takes_what_was_predicted(name: str, form: Form, models: Models, device: Device) -> None:
    model = models.converted(name, form)
    weights, activations, budget, _ = prediction(device, model)
    assert budget == 16_384
    # One text has twice the length, so all others are padded.
    padded = ["999 " + "heart " * 360, *texts(86)]
    trace, vectors = device.embed(model, padded, memory=80 * GB)
    assert vectors == len(padded)
    predicted = (weights + activations) * GB
    assert 0.95 * predicted <= trace.peak() <= 1.05 * predicted, f"{trace.peak() / GB:.2f} GB, {predicted / GB:.2f}"


def test_on_a_small_card_batches_fit(models: Models, device: Device) -> None:
    model = models.converted("4B", STANDARD)
    _, _, budget, _ = prediction(device, model, memory_gb=12)
    assert 256 <= budget < 16_384
    trace, vectors = device.embed(model, texts(200), memory=12 * GB)
    assert vectors == 200
    assert trace.of("out_of_memory") == []
    assert trace.peak() <= 0.9 * 12 * GB


def test_a_model_beyond_the_cards_memory_is_rejected_with_numbers(models: Models, device: Device) -> None:
    model = models.converted("4B", STANDARD)
    source = device.folder / "one.txt"
    source.write_text("a text\n")
    done = lexivec(device, "embed", model, source, "--ep", "cuda", memory_gb=8.5)
    assert done.returncode != 0
    assert f"the model `{models.checkpoint('4B').folder.name}` does not fit on GPU 0" in done.stderr
    assert "8.05 GB of weights" in done.stderr and "a memory utilization of 0.9" in done.stderr
    assert "--gpu-memory-utilization" in done.stderr


def test_a_batch_beyond_the_grid_is_rejected(models: Models, device: Device) -> None:
    model = models.converted("nano", Form("fp16", "standard"))
    done = lexivec(device, "embed", model, os.devnull, "--ep", "cuda", "--max-batch-tokens", 65_536)
    assert done.returncode != 0
    assert "--max-batch-tokens may be at most 65535 on a GPU" in done.stderr
