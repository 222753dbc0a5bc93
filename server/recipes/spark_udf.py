#!/usr/bin/env python3
"""Embeds a column of Parquet files with Spark (a pandas UDF) and `lexivec serve`.

    spark-submit spark_udf.py terms/*.parquet vectors --url http://127.0.0.1:30000/v1 --model nano --column term

Needs Java, and pyspark, pandas, pyarrow and openai on the driver and the executors; PYSPARK_PYTHON names the Python that has them.
LEXIVEC_API_KEY is the server's key, if it has one.
"""

import argparse
import os
from collections.abc import Iterator

import pandas
from openai import OpenAI
from pyspark.sql import SparkSession
from pyspark.sql.functions import pandas_udf

# Texts per request. The server batches the texts of all requests again.
BATCH = 256


def embed(url: str, model: str, key: str) -> object:
    """Creates the UDF that embeds a column of texts."""

    @pandas_udf("array<float>")
    def udf(batches: Iterator[pandas.Series]) -> Iterator[pandas.Series]:
        # If the server is overloaded, it says when to come back, and the client waits for so long.
        client = OpenAI(base_url=url, api_key=key, max_retries=20, timeout=600)
        for texts in batches:
            answer = client.embeddings.create(model=model, input=texts.tolist())
            yield pandas.Series([item.embedding for item in answer.data])

    return udf


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("input", nargs="+", help="Parquet files")
    parser.add_argument("output", help="folder of Parquet files, with a column `embedding`; replaced")
    parser.add_argument("--url", required=True, help="the server's address, with /v1")
    parser.add_argument("--model", required=True, help="the name of the served model")
    parser.add_argument("--column", required=True, help="the column of texts")
    arguments = parser.parse_args()

    spark = SparkSession.builder.appName("lexivec").config("spark.sql.execution.arrow.maxRecordsPerBatch", BATCH).getOrCreate()
    udf = embed(arguments.url, arguments.model, os.environ.get("LEXIVEC_API_KEY", "none"))
    rows = spark.read.parquet(*arguments.input)
    rows.withColumn("embedding", udf(rows[arguments.column])).write.mode("overwrite").parquet(arguments.output)
    spark.stop()


if __name__ == "__main__":
    main()
