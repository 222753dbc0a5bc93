"""Tests of serving on stand-in devices: conversion on first use, metrics, two devices, preparation of batches."""

from collections import Counter
from pathlib import Path

import checkpoints
import standin
from conftest import Models
from device_trace import Trace
from program import NO_GRAPHS, OPENER, Device
from recorded import Form

FP16 = Form("fp16", "standard")


def test_a_checkpoint_is_converted_for_cuda_and_served(device: Device, tmp_path: Path, monkeypatch) -> None:
    library = standin.onnxruntime()
    # An empty cache folder, so that the model must be converted.
    monkeypatch.setattr(standin, "CACHE", tmp_path)
    # The verification would fail, because the stand-in device computes nothing.
    serve = ["--onnxruntime", library, "--no-verify"]
    with device.serve(checkpoints.nano().folder, *serve) as server:
        status, answer = server.embed(["cardiac arrest"])
        assert status == 200, answer
    # The second start uses the conversion.
    with device.serve(checkpoints.nano().folder, *serve) as server:
        assert set(server.placement()) == {"CUDAExecutionProvider"}
    (converted,) = (tmp_path / "models").iterdir()
    assert "fp16" in converted.name


def test_a_conversion_on_first_use_is_verified_on_the_chosen_device(
    device: Device, tmp_path: Path, monkeypatch
) -> None:
    library = standin.onnxruntime()
    monkeypatch.setattr(standin, "CACHE", tmp_path)
    source = tmp_path / "text.txt"
    source.write_text("cardiac arrest\n")
    # bf16 needs no calibration. The device computes nothing, so the verification fails on it.
    flags = ["--onnxruntime", library, "--ep", "cuda", "-p", "bf16", "--devices", 1]
    error = device.fail("embed", checkpoints.nano().folder, source, *flags, devices=2)
    assert "converting" in error and "cosine" in error, error
    trace = Trace.read(device.folder / "device.log")
    assert trace.of("kernel", 1) and not trace.of("kernel", 0)


def test_nothing_is_converted_for_a_missing_device(device: Device, tmp_path: Path, monkeypatch) -> None:
    library = standin.onnxruntime()
    monkeypatch.setattr(standin, "CACHE", tmp_path)
    flags = ["--onnxruntime", library, "--ep", "cuda", "--devices", "0,7"]
    error = device.fail("embed", checkpoints.nano().folder, *flags)
    assert "Invalid device ID: 7" in error and "converting" not in error, error
    assert not (tmp_path / "models").exists()


def test_metrics_show_the_memory_of_the_gpus_in_use(models: Models, device: Device) -> None:
    total = 4_000_000_000
    with device.serve(models.converted("nano", FP16), "--devices", "1", devices=2, memory=total) as server:
        with OPENER.open(f"{server._address}/metrics", timeout=60) as answer:
            lines = answer.read().decode().splitlines()
    gauges = dict(line.split(" ") for line in lines if line.startswith("lexivec_gpu_memory_bytes"))
    used, free = (float(gauges[f'lexivec_gpu_memory_bytes{{device="1",kind="{kind}"}}']) for kind in ("used", "free"))
    assert len(gauges) == 2 and used > 0 and used + free == total, gauges


def test_two_devices_share_a_queue(models: Models, device: Device) -> None:
    checkpoint, model = models.checkpoint("nano"), models.converted("nano", FP16)
    sent = 0
    # Small batches, so that there are enough for both devices. The system's scheduler decides which worker takes one.
    with device.serve(model, "--devices", "0,1", "--max-batch-tokens", "64", *NO_GRAPHS, devices=2) as server:
        for request in range(20):
            texts = [f"text {number} of request {request}" for number in range(200)]
            status, answer = server.embed(texts)
            assert status == 200 and len(answer["data"]) == len(texts)
            sent += len(texts)
            trace = server.trace()
            batches = trace.batches(checkpoint.vector_bytes)
            if {batch.device for batch in batches} == {0, 1}:
                break
    assert {batch.device for batch in batches} == {0, 1}, Counter(batch.device for batch in batches)
    assert sum(sum(batch.copied("d2h")) for batch in batches) == sent * checkpoint.vector_bytes
    assert trace.of("error") == []


def test_the_next_batch_is_planned_while_the_device_computes(models: Models, device: Device) -> None:
    texts = [f"text {number} of many" for number in range(400)]
    with device.serve(models.converted("nano", FP16), "--max-batch-tokens", "64", *NO_GRAPHS) as server:
        status, answer = server.embed(texts)
        batches, prepared = (server.metric(f"lexivec_batches_{name}total") for name in ("", "prepared_"))
    assert status == 200 and len(answer["data"]) == len(texts)
    # The first batch is never prepared, and the last one is not full. On a busy machine, some are not prepared in time.
    assert batches > 20 and prepared > batches / 4, (batches, prepared)
