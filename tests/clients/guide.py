#!/usr/bin/env python3
"""The guide's notebook flow, with the openai client installed here. Usage: flow.py http://HOST:PORT"""

import json
import math
import sys
import urllib.request

import openai
from openai import OpenAI

ENGLISH = [
    "myocardial infarction", "arrhythmia", "cardiac arrest", "common cold", "diabetes", "hypertension", "pneumonia",
    "bone fracture", "cancer", "asthma", "kidney failure", "appendicitis", "influenza", "migraine", "anemia",
    "tuberculosis", "epilepsy", "hepatitis", "obesity", "deafness",
]  # fmt: skip


def cosine(a: list[float], b: list[float]) -> float:
    return sum(x * y for x, y in zip(a, b)) / math.hypot(*a) / math.hypot(*b)


def main(address: str) -> None:
    print(f"openai {openai.__version__}")
    with urllib.request.urlopen(f"{address}/health") as response:
        assert json.load(response) == {"status": "ok"}
    client = OpenAI(base_url=f"{address}/v1", api_key="any", max_retries=0)
    model = client.models.list().data[0].id

    def embed(texts, **extra):
        answer = client.embeddings.create(model=model, input=texts, **extra)
        assert answer.usage.total_tokens > 0
        return [item.embedding for item in sorted(answer.data, key=lambda item: item.index)]

    (greeting,) = embed("Hello, world!")
    print(f"dimension {len(greeting)}, first values {[round(v, 4) for v in greeting[:3]]}")
    assert len(greeting) == 256 and abs(math.hypot(*greeting) - 1) < 1e-5
    (floats,) = embed("Hello, world!", encoding_format="float")
    assert max(abs(a - b) for a, b in zip(greeting, floats)) < 1e-7

    (cut,) = embed("Hello, world!", dimensions=128)
    assert len(cut) == 128 and abs(math.hypot(*cut) - 1) < 1e-5
    try:
        # The guide's 512 is wider than the demonstration model: refused, and not retried.
        embed("Hello, world!", dimensions=512)
        raise AssertionError("512 dimensions of 256")
    except openai.BadRequestError as error:
        assert error.param == "dimensions", error

    terms = ["cardiac arrest", "myocardial infarction", "arrhythmia", "common cold"]
    vectors = embed(terms, extra_body={"instruction": "Represent the medical condition:"})
    infarction, arrhythmia, cold = (cosine(vectors[0], v) for v in vectors[1:])
    print(f"cardiac arrest: infarction {infarction:.3f}, arrhythmia {arrhythmia:.3f}, common cold {cold:.3f}")
    assert infarction > cold and arrhythmia > cold
    by_domain = embed(terms, extra_body={"domain": "medical"})
    assert by_domain[0] != vectors[0]

    (chinese,) = embed("心肌梗死")
    scores = [cosine(chinese, v) for v in embed(ENGLISH)]
    nearest = ENGLISH[scores.index(max(scores))]
    print(f"心肌梗死 is nearest to {nearest}")
    assert nearest == "myocardial infarction"

    for bad, error, field in [
        ({"input": ""}, openai.BadRequestError, "input"),
        ({"input": "a", "model": "nobody"}, openai.NotFoundError, "model"),
        ({"input": "a", "extra_body": {"dimension": 3}}, openai.BadRequestError, "dimension"),
    ]:
        try:
            client.embeddings.create(**{"model": model, **bad})
            raise AssertionError(f"{bad} was accepted")
        except error as raised:
            assert raised.param == field, (bad, raised)


if __name__ == "__main__":
    main(sys.argv[1])
