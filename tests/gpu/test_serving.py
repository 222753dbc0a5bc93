"""Serving on stand-in devices: from a checkpoint, and from two devices."""

from collections import Counter
from pathlib import Path

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
    # A model for CUDA is verified there, where the stand-in device computes nothing.
    serve = ["--onnxruntime", library, "--no-verify"]
    with device.serve(checkpoints.nano().folder, *serve) as server:
        status, answer = server.embed(["cardiac arrest"])
        assert status == 200, answer
    # The second start finds the conversion, and opens nothing else.
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


def test_the_next_batch_is_planned_while_the_device_computes(models: Models, device: Device) -> None:
    texts = [f"text {number} of many" for number in range(400)]
    with device.serve(models.converted("nano", FP16), "--max-batch-tokens", "64", *NO_GRAPHS) as server:
        status, answer = server.embed(texts)
        batches, prepared = (server.metric(f"lexivec_batches_{name}total") for name in ("", "prepared_"))
    assert status == 200 and len(answer["data"]) == len(texts)
    # The first batch finds nothing prepared, and the last one is not full.
    assert batches > 20 and prepared > batches / 2, (batches, prepared)
