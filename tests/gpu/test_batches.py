"""Tests of one batch on the device, for each model and form, with `lexivec serve`."""

import pytest

from conftest import Models
from program import NO_GRAPHS, Device
from recorded import FORMS, RECORDED, Form, Recorded, attention_kernel

TEXTS = ["cardiac arrest", "心脏骤停", "a longer text about the heart and what can happen to it"]
# int8 for CUDA is int8-weight. nano has tests for both, and the larger graph for one.
CASES = [(name, form) for name in ("nano", "4B, two layers") for form in FORMS if (name, str(form)) in RECORDED]


@pytest.mark.parametrize("name, form", CASES, ids=lambda value: str(value).replace(", ", " "))
def test_a_batch(name: str, form: Form, models: Models, device: Device) -> None:
    checkpoint = models.checkpoint(name)
    with device.serve(models.converted(name, form), *NO_GRAPHS) as server:
        status, answer = server.embed(TEXTS)
        placement, trace = server.placement(), server.trace()
    if name != "nano":
        models.discard(name, form)
    assert status == 200, answer
    assert [len(item["embedding"]) for item in answer["data"]] == [checkpoint.hidden] * len(TEXTS)

    assert set(placement) == {"CUDAExecutionProvider"}, placement
    assert trace.of("error") == []
    assert trace.tallest_grid <= 65_535

    (batch,) = trace.batches(checkpoint.vector_bytes)
    assert batch.copied("d2h") == [len(TEXTS) * checkpoint.vector_bytes], "only embeddings come back"
    # One for the computing stream and one for the idle default stream. GemmFloat8 waits in every matrix multiplication,
    # because it frees its workspace.
    of_float8 = len(batch.products) if form.precision == "fp8" else 0
    assert batch.synchronizations <= 2 + of_float8, batch.events
    assert batch.launched(attention_kernel(form)) == checkpoint.layers, batch.kernels
    if form.precision == "fp8":
        types = {product.fields["types"].rpartition(",")[0] for product in batch.products}
        assert types == {"e4m3,e4m3"}, "every matrix multiplication has 8-bit floats"

    found = Recorded(batch.kernels.total(), len(batch.products))
    recorded = RECORDED[name, str(form)]
    assert found.kernels <= recorded.kernels and found.products <= recorded.products, f"found {found}\n{batch.kernels}"


# GemmFloat8 allocates while it runs, which CUDA forbids during a capture.
@pytest.mark.parametrize("form", [form for form in FORMS if form.precision not in ("int8", "fp8")], ids=str)
def test_a_small_batch_is_one_launch(form: Form, models: Models, device: Device) -> None:
    checkpoint = models.checkpoint("nano")
    with device.serve(models.converted("nano", form)) as server:
        status, answer = server.embed(TEXTS)
        trace = server.trace()
    assert status == 200, answer
    (batch,) = trace.batches(checkpoint.vector_bytes)
    assert (len(batch.graphs), batch.kernels.total(), len(batch.products)) == (1, 0, 0), batch.events
    assert batch.synchronizations == 1, batch.events


def test_the_grouped_4b_model_has_at_most_520_launches_per_batch() -> None:
    def launches(name: str) -> int:
        recorded = RECORDED[name, "fp16-grouped"]
        return recorded.kernels + recorded.products

    # Both models have the same launches per layer and outside layers, so two models determine both numbers.
    per_layer, remainder = divmod(launches("nano") - launches("4B, two layers"), 6 - 2)
    assert remainder == 0
    assert launches("4B, two layers") + (36 - 2) * per_layer <= 520
