"""Tests of `lexivec doctor` with devices, and with models that a provider cannot serve."""

import json
import subprocess
from pathlib import Path

import checkpoints
from conftest import Models
from program import PROGRAM, Device
from recorded import Form

FP16 = Form("fp16", "standard")


def findings(device: Device, *arguments: object, devices: int = 1) -> tuple[int, dict[str, tuple[str, str]]]:
    """Runs `doctor --ep cuda`; returns the exit code, and each finding's status and value."""
    environment = device.environment(device.folder / "device.log", devices=devices)
    command = [PROGRAM, "doctor", *map(str, arguments), "--ep", "cuda", "--json"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    found = {finding["what"]: (finding["status"], finding["value"]) for finding in json.loads(done.stdout)}
    return done.returncode, found


def test_every_device_is_checked(device: Device) -> None:
    code, found = findings(device, "--devices", "1,7,0", devices=2)
    assert code == 1
    assert found["ep cuda, 0"][0] == found["ep cuda, 1"][0] == "ok"
    status, value = found["ep cuda, 7"]
    assert status == "failed" and "Invalid device ID: 7" in value


def test_a_model_for_cuda_is_ok(models: Models, device: Device) -> None:
    code, found = findings(device, models.converted("nano", FP16))
    status, value = found["model"]
    assert (code, status) == (0, "ok") and value.startswith("fp16, target cuda; "), value


def test_a_model_for_another_provider_is_not_ok(device: Device, tmp_path: Path) -> None:
    model = tmp_path / "model"
    device.run("convert", checkpoints.nano().folder, "-o", model, "--no-verify")
    code, found = findings(device, model)
    status, value = found["model"]
    assert (code, status) == (1, "failed") and "convert with the execution provider cuda" in value, value


def test_without_visible_devices_the_error_says_what_to_do(models: Models, device: Device, tmp_path: Path) -> None:
    code, found = findings(device, devices=0)
    assert code == 1 and "sees no NVIDIA GPU" in found["ep cuda"][1], found
    text = tmp_path / "text.txt"
    text.write_text("cardiac arrest\n")
    error = device.fail("embed", models.converted("nano", FP16), text, "--ep", "cuda", devices=0)
    assert "sees no NVIDIA GPU" in error and "CUDA_VISIBLE_DEVICES" in error, error
