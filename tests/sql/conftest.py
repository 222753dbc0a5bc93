"""A model and tables that all tests share."""

from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from programs import NANO, lexivec, passes

# Rows of the small table, which fit into one batch of the engine, and of the large one, which take several seconds.
SMALL, LARGE = 300, 16_000
NOUNS = ("heart failure", "interest rate swap", "心脏骤停", "breach of contract")


def terms(rows: int, first: int = 0) -> pa.Table:
    numbers = range(first, first + rows)
    texts = [None if row % 50 == 49 else f"{NOUNS[row % 4]} {row}" for row in numbers]
    return pa.table({"id": pa.array(numbers, pa.int64()), "term": pa.array(texts, pa.string())})


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "nano"
    passes(lexivec("convert", NANO, "--output", folder))
    return folder


@pytest.fixture(scope="session")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Returns a folder of tables: small.parquet, small.csv, large.parquet, and shards/, whose files are together like large.parquet."""
    folder = tmp_path_factory.mktemp("tables")
    pq.write_table(terms(SMALL), folder / "small.parquet")
    pa.csv.write_csv(terms(SMALL), folder / "small.csv")
    pq.write_table(terms(LARGE), folder / "large.parquet", row_group_size=LARGE // 24)
    (folder / "shards").mkdir()
    for shard in range(8):
        rows = LARGE // 8
        pq.write_table(terms(rows, shard * rows), folder / "shards" / f"{shard}.parquet", row_group_size=rows // 4)
    return folder
