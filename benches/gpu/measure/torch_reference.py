#!/usr/bin/env python3
"""Computes vectors with transformers: each text alone, without padding; last-token pooling, normalised in float32.

    torch_reference.py --model DIR --inputs FILE.json --dtype bfloat16|float32 --device cuda --out FILE.npy

FILE.json has `texts`, which the checkpoint's tokenizer tokenises (it appends the last token), and `ids`, which are used
unchanged. The vector of a text that does not fit into the card's memory is NaN.
"""

import argparse
import json
import time

import numpy as np
import torch
from transformers import AutoModel, AutoTokenizer
from transformers.integrations import sdpa_attention

# For grouped heads in float32, PyTorch uses a kernel that stores all scores: 137 GB at 32,768 tokens. With repeated heads
# it uses a kernel that does not.
sdpa_attention.use_gqa_in_sdpa = lambda *_: False


def vector(model: torch.nn.Module, ids: list[int]) -> np.ndarray:
    """Returns the normalised hidden state of the last token."""
    hidden = model(input_ids=torch.tensor([ids], device=model.device), use_cache=False).last_hidden_state
    return torch.nn.functional.normalize(hidden[0, -1].float(), dim=0).cpu().numpy()


def main() -> None:
    parser = argparse.ArgumentParser()
    for name in ("model", "inputs", "dtype", "device", "out"):
        parser.add_argument(f"--{name}", required=True)
    arguments = parser.parse_args()
    torch.backends.cuda.matmul.allow_tf32 = False
    with open(arguments.inputs, encoding="utf-8") as file:
        inputs = json.load(file)
    tokenizer = AutoTokenizer.from_pretrained(arguments.model)
    model = AutoModel.from_pretrained(arguments.model, dtype=getattr(torch, arguments.dtype))
    model = model.to(arguments.device).eval()
    sequences = [tokenizer(text)["input_ids"] for text in inputs["texts"]] + inputs["ids"]
    vectors, too_long = [], []
    started = time.monotonic()
    with torch.inference_mode():
        for ids in sequences:
            try:
                vectors.append(vector(model, ids))
            except torch.OutOfMemoryError:
                vectors.append(np.full(model.config.hidden_size, np.nan, np.float32))
                too_long.append(len(ids))
    np.save(arguments.out, np.stack(vectors))
    ends = sorted({ids[-1] for ids in sequences})
    lengths = [len(ids) for ids in sequences]
    seconds = round(time.monotonic() - started, 1)
    print(json.dumps({"tokens": lengths, "last_ids": ends, "out_of_memory": too_long, "seconds": seconds}))


if __name__ == "__main__":
    main()
