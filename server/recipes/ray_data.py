#!/usr/bin/env python3
"""Embeds a column of Parquet files with Ray Data and `lexivec serve`.

    ray_data.py terms/*.parquet vectors --url http://127.0.0.1:30000/v1 --model nano --column term

Needs ray[data], aiohttp, openai and numpy. On a cluster, start one server per machine and give the address that its actors reach.
LEXIVEC_API_KEY is the server's key, if it has one.
"""

import argparse
import os

import numpy
import ray
from openai import OpenAI
from ray.data import SaveMode

# Texts per request, and requests at a time. The server batches the texts of all requests again.
BATCH = 256
REQUESTS = 4


class Embed:
    """Embeds batches of rows."""

    def __init__(self, url: str, model: str, column: str, key: str) -> None:
        # If the server is overloaded, it says when to come back, and the client waits for so long.
        self.client = OpenAI(base_url=url, api_key=key, max_retries=20, timeout=600)
        self.model, self.column = model, column

    def __call__(self, batch: dict[str, numpy.ndarray]) -> dict[str, numpy.ndarray]:
        """Adds the column `embedding`."""
        answer = self.client.embeddings.create(model=self.model, input=list(batch[self.column]))
        vectors = numpy.array([item.embedding for item in answer.data], dtype=numpy.float32)
        return batch | {"embedding": vectors}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("input", nargs="+", help="Parquet files")
    parser.add_argument("output", help="folder of Parquet files, with a column `embedding`; replaced")
    parser.add_argument("--url", required=True, help="the server's address, with /v1")
    parser.add_argument("--model", required=True, help="the name of the served model")
    parser.add_argument("--column", required=True, help="the column of texts")
    arguments = parser.parse_args()

    key = os.environ.get("LEXIVEC_API_KEY", "none")
    rows = ray.data.read_parquet(arguments.input).map_batches(
        Embed,
        fn_constructor_args=(arguments.url, arguments.model, arguments.column, key),
        batch_size=BATCH,
        concurrency=REQUESTS,
        # The actors wait for the server and compute nothing.
        num_cpus=0.1,
    )
    rows.write_parquet(arguments.output, mode=SaveMode.OVERWRITE)


if __name__ == "__main__":
    main()
