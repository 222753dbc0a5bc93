"""Serving on stand-in devices: from a checkpoint, from two devices, and in batches that are very large."""

from collections import Counter
from pathlib import Path

import pytest

import checkpoints
import standin
from conftest import Models
from program import NO_GRAPHS, Device
from recorded import Form

FP16 = Form("fp16", "standard")


def test_a_checkpoint_is_converted_for_cuda_and_served(device: Device, tmp_path: Path, monkeypatch) -> None:
    library = standin.onnxruntime()
    # The conversion is new: this cache folder is empty.
    monkeypatch.setattr(standin, "CACHE", tmp_path)
    serve = ["--onnxruntime", library]
    with device.serve(checkpoints.nano().folder, *serve) as server:
        status, answer = server.embed(["cardiac arrest"])
        assert status == 200, answer
    # Verification runs on the CPU. The second start finds the conversion, and opens nothing else.
    with device.serve(checkpoints.nano().folder, *serve) as server:
        assert set(server.placement()) == {"CUDAExecutionProvider"}
    (converted,) = (tmp_path / "models").iterdir()
    assert "fp16" in converted.name


def test_two_devices_share_a_queue(models: Models, device: Device) -> None:
    checkpoint, model = models.checkpoint("nano"), models.converted("nano", FP16)
    sent = 0
    # Small batches, so that there are enough for both. Which worker takes one is up to the system's scheduler.
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


@pytest.mark.xfail(strict=True, reason="RotaryEmbedding launches a grid with y = tokens, which a card refuses")
def test_batches_of_more_than_65535_tokens_launch_grids_that_a_card_takes(models: Models, device: Device) -> None:
    checkpoint, model = models.checkpoint("nano"), models.converted("nano", FP16)
    texts = [f"{number} " + "heart " * 180 for number in range(500)]
    trace, vectors = device.embed(model, texts, "--max-batch-tokens", "90000")
    assert vectors == len(texts)
    assert trace.of("error") == []
    assert trace.tallest_grid <= 65_535
    returned = sum(sum(batch.copied("d2h")) for batch in trace.batches(checkpoint.vector_bytes))
    assert returned == len(texts) * checkpoint.vector_bytes
