"""Tests of the 4B model's memory: the peak of a full batch, and batches that do not fit.

The checkpoint is sparse and the bf16 graph refers to its files, so the 8 GB of weights take no disk space.
"""

import pytest

from conftest import Models
from program import Device
from recorded import Form

FORM = Form("bf16", "standard")
BUDGET = 16_384
GB = 1_000_000_000


def texts(count: int) -> list[str]:
    """Returns texts of about 184 tokens; 88 fill a batch. They differ from the first token on, so they share no prefix."""
    return [f"{number + 100} " + "heart " * 180 for number in range(count)]


def test_a_full_batch_takes_at_most_11_gb(models: Models, device: Device) -> None:
    checkpoint = models.checkpoint("4B")
    trace, vectors = device.embed(models.converted("4B", FORM), texts(88), "--max-batch-tokens", BUDGET)
    assert vectors == 88
    (batch,) = trace.batches(checkpoint.vector_bytes)
    tokens = max(product.shape[1] for product in batch.products)
    assert 0.95 * BUDGET <= tokens <= BUDGET, "the batch is not full"
    assert batch.copied("d2h") == [88 * checkpoint.vector_bytes]
    assert batch.launched("flash_fwd") == checkpoint.layers
    assert trace.of("out_of_memory") == []
    assert trace.peak() <= 11 * GB, f"{trace.peak() / GB:.2f} GB"


@pytest.mark.parametrize("memory_gb, budget, count", [(12, 2 * BUDGET, 176), (9, BUDGET, 88)])
def test_out_of_memory_halves_batches(memory_gb: int, budget: int, count: int, models: Models, device: Device) -> None:
    checkpoint = models.checkpoint("4B")
    model, memory = models.converted("4B", FORM), memory_gb * GB
    # Allows all of the memory and a budget that exceeds it. By default, both would be smaller.
    flags = ["--gpu-memory-utilization", "1", "--max-batch-tokens", budget]
    trace, vectors = device.embed(model, texts(count), *flags, memory=memory)
    assert vectors == count, "every text is answered"
    batches = trace.batches(checkpoint.vector_bytes)
    assert len(batches) >= 2, "the batch fitted, so this test checks nothing"
    assert sum(sum(batch.copied("d2h")) for batch in batches) == count * checkpoint.vector_bytes
    assert trace.peak() <= memory
