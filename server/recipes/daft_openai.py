#!/usr/bin/env python3
"""Embeds a column of Parquet files with Daft, through its OpenAI provider and `lexivec serve`.

    daft_openai.py terms/*.parquet vectors --url http://127.0.0.1:30000/v1 --model nano --column term

Needs daft, openai and numpy. Daft sends batches of texts, several at a time, and the server batches them again. LEXIVEC_API_KEY is the
server's key, if it has one.
"""

import argparse
import os

import daft
from daft.ai.openai.provider import OpenAIProvider
from daft.functions import embed_text


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("input", nargs="+", help="Parquet files")
    parser.add_argument("output", help="folder of Parquet files, with a column `embedding`; replaced")
    parser.add_argument("--url", required=True, help="the server's address, with /v1")
    parser.add_argument("--model", required=True, help="the name of the served model")
    parser.add_argument("--column", required=True, help="the column of texts")
    arguments = parser.parse_args()

    provider = OpenAIProvider(base_url=arguments.url, api_key=os.environ.get("LEXIVEC_API_KEY", "none"))
    # Daft 0.7 asks the server for the width of its vectors. It takes `dimensions` for OpenAI's own models alone.
    embedding = embed_text(daft.col(arguments.column), provider=provider, model=arguments.model, batch_size=256, max_retries=20)
    daft.read_parquet(arguments.input).with_column("embedding", embedding).write_parquet(arguments.output, write_mode="overwrite")


if __name__ == "__main__":
    main()
