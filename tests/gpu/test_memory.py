"""Memory of the 4B model: what a full batch takes, and what happens where it does not fit.

The checkpoint is sparse and the graph in bf16 refers to its files, so the 8 GB are nowhere but in its size.
"""

import pytest

from conftest import Models
from program import Device
from recorded import Form

FORM = Form("bf16", "standard")
BUDGET = 16_384
# 182 tokens each: a full batch.
TEXTS = [f"{number % 10} " + "heart " * 180 for number in range(88)]
GB = 1_000_000_000


def test_a_full_batch_takes_at_most_11_gb(models: Models, device: Device) -> None:
    checkpoint = models.checkpoint("4B")
    trace, vectors = device.embed(models.converted("4B", FORM), TEXTS, "--max-batch-tokens", BUDGET)
    assert vectors == len(TEXTS)
    (batch,) = trace.batches(checkpoint.vector_bytes)
    tokens = {product.shape[1] for product in batch.products}
    assert any(BUDGET * 0.9 <= count <= BUDGET for count in tokens), f"the batch is not full: {tokens}"
    assert batch.copied("d2h") == [len(TEXTS) * checkpoint.vector_bytes]
    assert batch.launched("flash_fwd") == checkpoint.layers
    assert trace.of("out_of_memory") == []
    assert trace.peak() <= 11 * GB, f"{trace.peak() / GB:.2f} GB"


@pytest.mark.parametrize("memory_gb, budget, copies", [(12, 4 * BUDGET, 4), (9, BUDGET, 1)])
def test_out_of_memory_halves_batches(
    memory_gb: int, budget: int, copies: int, models: Models, device: Device
) -> None:
    checkpoint = models.checkpoint("4B")
    texts, memory = TEXTS * copies, memory_gb * GB
    trace, vectors = device.embed(models.converted("4B", FORM), texts, "--max-batch-tokens", budget, memory=memory)
    assert vectors == len(texts), "every text is answered"
    assert trace.of("out_of_memory"), "the batch fitted: this test shows nothing"
    batches = trace.batches(checkpoint.vector_bytes)
    assert len(batches) >= 2
    assert sum(sum(batch.copied("d2h")) for batch in batches) == len(texts) * checkpoint.vector_bytes
    assert trace.peak() <= memory
