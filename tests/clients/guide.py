#!/usr/bin/env python3
"""Runs the steps of the guide's notebook with the installed openai client."""

import json
import math
import urllib.request

import openai
from contract import TERMS, URL, cosine
from openai import OpenAI

ENGLISH = [
    "myocardial infarction", "arrhythmia", "cardiac arrest", "common cold", "diabetes", "hypertension", "pneumonia",
    "bone fracture", "cancer", "asthma", "kidney failure", "appendicitis", "influenza", "migraine", "anemia",
    "tuberculosis", "epilepsy", "hepatitis", "obesity", "deafness",
]  # fmt: skip


def main() -> None:
    with urllib.request.urlopen(f"{URL}/health") as response:
        assert json.load(response) == {"status": "ok"}
    client = OpenAI(base_url=f"{URL}/v1", api_key="any", max_retries=0)
    model = client.models.list().data[0].id

    def embed(texts, **extra):
        answer = client.embeddings.create(model=model, input=texts, **extra)
        assert answer.usage.total_tokens > 0
        return [item.embedding for item in sorted(answer.data, key=lambda item: item.index)]

    (greeting,) = embed("Hello, world!")
    assert len(greeting) == 256 and abs(math.hypot(*greeting) - 1) < 1e-5
    (floats,) = embed("Hello, world!", encoding_format="float")
    assert max(abs(a - b) for a, b in zip(greeting, floats, strict=True)) < 1e-7

    (truncated,) = embed("Hello, world!", dimensions=128)
    assert len(truncated) == 128 and abs(math.hypot(*truncated) - 1) < 1e-5
    try:
        # The guide's 512 dimensions exceed those of the demonstration model, so the server rejects them.
        embed("Hello, world!", dimensions=512)
        raise AssertionError("512 dimensions of 256")
    except openai.BadRequestError as error:
        assert error.param == "dimensions", error

    vectors = embed(TERMS, extra_body={"instruction": "Represent the medical condition:"})
    infarction, arrhythmia, cold = (cosine(vectors[0], v) for v in vectors[1:])
    assert infarction > cold and arrhythmia > cold
    by_domain = embed(TERMS, extra_body={"domain": "medical"})
    assert by_domain[0] != vectors[0]

    (chinese,) = embed("心肌梗死")
    scores = [cosine(chinese, v) for v in embed(ENGLISH)]
    nearest = ENGLISH[scores.index(max(scores))]
    assert nearest == "myocardial infarction"
    print(f"infarction {infarction:.3f}, arrhythmia {arrhythmia:.3f}, common cold {cold:.3f}; 心肌梗死 is {nearest}")


if __name__ == "__main__":
    main()
