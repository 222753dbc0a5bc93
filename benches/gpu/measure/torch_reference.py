#!/usr/bin/env python3
"""Vectors by transformers: each text alone, without padding; the last token's state, normalised in float32.

    torch_reference.py --model DIR --inputs FILE.json --dtype bfloat16|float32 --device cuda --out FILE.npy

FILE.json holds `texts`, which the checkpoint's tokenizer tokenises (it appends the last token), and `ids`, which are
taken as they are.
"""

import argparse
import json
import time

import numpy as np
import torch
from transformers import AutoModel, AutoTokenizer


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
    vectors = []
    started = time.monotonic()
    with torch.inference_mode():
        for ids in sequences:
            states = model(input_ids=torch.tensor([ids], device=arguments.device), use_cache=False).last_hidden_state
            vectors.append(torch.nn.functional.normalize(states[0, -1].float(), dim=0).cpu().numpy())
    np.save(arguments.out, np.stack(vectors))
    ends = sorted({ids[-1] for ids in sequences})
    lengths = [len(ids) for ids in sequences]
    print(json.dumps({"tokens": lengths, "last_ids": ends, "seconds": round(time.monotonic() - started, 1)}))


if __name__ == "__main__":
    main()
