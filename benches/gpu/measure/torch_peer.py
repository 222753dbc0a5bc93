#!/usr/bin/env python3
"""Runs sentence-transformers in bfloat16 on the same card, controlled by lines on standard input.

    torch_peer.py --model DIR --texts FILE.json --device cuda

FILE.json has lists of texts. The program prints `ready`. Each input line is a number of seconds, for which `encode` runs on
the lists in turn, without a server. A line of JSON then has the number of texts. The line `vectors FILE.npy` writes the
vectors of the first list.
"""

import argparse
import itertools
import json
import sys
import time

import numpy as np
import torch
from sentence_transformers import SentenceTransformer

# The largest batch. `encode` sorts its texts by length, so that batches have little padding.
BATCH = 64


def main() -> None:
    parser = argparse.ArgumentParser()
    for name in ("model", "texts", "device"):
        parser.add_argument(f"--{name}", required=True)
    arguments = parser.parse_args()
    with open(arguments.texts, encoding="utf-8") as file:
        lists = json.load(file)
    model = SentenceTransformer(
        arguments.model, device=arguments.device, model_kwargs={"dtype": torch.bfloat16, "attn_implementation": "sdpa"}
    )

    def encode(texts: list[str]) -> np.ndarray:
        return model.encode(texts, batch_size=BATCH, normalize_embeddings=True, show_progress_bar=False)

    encode(lists[0])
    print("ready", flush=True)
    in_turn = itertools.cycle(lists)
    for line in sys.stdin:
        if line.startswith("vectors "):
            np.save(line.removeprefix("vectors ").strip(), encode(lists[0]))
            print(json.dumps({"written": True}), flush=True)
            continue
        texts, started = 0, time.monotonic()
        while texts == 0 or time.monotonic() - started < float(line):
            chosen = next(in_turn)
            encode(chosen)
            texts += len(chosen)
        print(json.dumps({"inputs": texts, "seconds": time.monotonic() - started}), flush=True)


if __name__ == "__main__":
    main()
