"""Parquet files of `lexivec embed`, written by and for other programs."""

import json
from pathlib import Path

import duckdb
import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.feather as feather
import pyarrow.parquet as pq
import pytest
from program import MODEL, embed, lexivec

# More rows than a batch has.
ROWS = 1500
TERMS = [f"{noun} {number}" for number in range(ROWS // 3) for noun in ("heart", "interest rate", "心脏")]
# Of all types that `lexivec embed` carries along without a look at them.
COLUMNS = {
    "id": pa.array(range(ROWS), pa.int64()),
    "term": pa.array(TERMS, pa.string()),
    "score": pa.array([None if row % 7 == 0 else row / 3 for row in range(ROWS)], pa.float64()),
    "seen": pa.array([row * 1_000_000 for row in range(ROWS)], pa.timestamp("us", "UTC")),
    "tags": pa.array([["a"] * (row % 3) for row in range(ROWS)], pa.list_(pa.string())),
    "place": pa.array([{"page": row, "book": None} for row in range(ROWS)]),
    "price": pa.array([f"{row}.25" for row in range(ROWS)]).cast(pa.decimal128(12, 2)),
    "group": pa.array([f"g{row % 4}" for row in range(ROWS)]).dictionary_encode(),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tables")
    pq.write_table(pa.table(COLUMNS), folder / "terms.parquet", row_group_size=400)
    embed(folder / "terms.parquet", "--output", folder / "out.parquet")
    (folder / "terms.txt").write_text("\n".join(TERMS) + "\n")
    embed(folder / "terms.txt", "--output", folder / "vectors.npy")
    return folder


@pytest.fixture(scope="module")
def vectors(folder: Path) -> np.ndarray:
    return np.load(folder / "vectors.npy")


def test_pyarrow_reads_the_columns_and_the_vectors(folder: Path, vectors: np.ndarray) -> None:
    table = pq.read_table(folder / "out.parquet")
    assert table.column_names == [*COLUMNS, "embedding"]
    assert table["embedding"].type == pa.list_(pa.field("element", pa.float32(), nullable=False), 32)
    for name, column in COLUMNS.items():
        assert table[name].type == column.type, name
        assert table[name].to_pylist() == column.to_pylist(), name
    found = table["embedding"].combine_chunks().flatten().to_numpy().reshape(ROWS, 32)
    np.testing.assert_array_equal(found, vectors)
    metadata = pq.read_metadata(folder / "out.parquet").metadata
    assert metadata[b"lexivec.dimensions"] == b"32"
    assert metadata[b"lexivec.model_digest"]


def test_polars_reads_the_columns_and_the_vectors(folder: Path, vectors: np.ndarray) -> None:
    table = pl.read_parquet(folder / "out.parquet")
    assert table["embedding"].dtype == pl.Array(pl.Float32, 32)
    np.testing.assert_array_equal(table["embedding"].to_numpy(), vectors)
    assert table["term"].to_list() == TERMS


def test_duckdb_reads_the_columns_and_the_vectors(folder: Path, vectors: np.ndarray) -> None:
    rows = duckdb.sql(f"select id, term, embedding from '{folder / 'out.parquet'}' order by id").fetchall()
    assert [row[1] for row in rows] == TERMS
    np.testing.assert_array_equal(np.array([row[2] for row in rows], np.float32), vectors)


@pytest.mark.parametrize("kind", [pa.large_string(), pa.string_view(), pa.dictionary(pa.int32(), pa.string())])
@pytest.mark.parametrize("compression", ["none", "snappy", "gzip", "zstd", "lz4"])
def test_texts_of_pyarrow_are_read(tmp_path: Path, vectors: np.ndarray, kind: pa.DataType, compression: str) -> None:
    terms = pa.array(TERMS, pa.string()).cast(kind)
    pq.write_table(pa.table({"term": terms}), tmp_path / "a.parquet", compression=compression)
    embed(tmp_path / "a.parquet", "--output", tmp_path / "out.npy")
    np.testing.assert_array_equal(np.load(tmp_path / "out.npy"), vectors)


def test_texts_of_polars_and_duckdb_are_read(tmp_path: Path, vectors: np.ndarray) -> None:
    pl.DataFrame({"term": TERMS}).write_parquet(tmp_path / "polars.parquet")
    frame = pl.DataFrame({"term": TERMS})  # noqa: F841  (DuckDB finds it by its name)
    duckdb.sql("select * from frame").write_parquet(str(tmp_path / "duckdb.parquet"))
    for name in ("polars", "duckdb"):
        embed(tmp_path / f"{name}.parquet", "--output", tmp_path / "out.parquet")
        found = pl.read_parquet(tmp_path / "out.parquet")
        np.testing.assert_array_equal(found["embedding"].to_numpy(), vectors)
        assert found["term"].to_list() == TERMS


@pytest.mark.parametrize("compression", ["uncompressed", "lz4", "zstd"])
def test_arrow_files_of_pyarrow_and_polars_are_read(tmp_path: Path, vectors: np.ndarray, compression: str) -> None:
    table = pa.table({**COLUMNS, "embedding": pa.array(list(vectors), pa.list_(pa.float32(), vectors.shape[1]))})
    feather.write_feather(table, tmp_path / "pyarrow.arrow", compression=compression)
    pl.from_arrow(table).write_ipc(tmp_path / "polars.feather", compression=compression)
    for name in ("pyarrow.arrow", "polars.feather"):
        embed(tmp_path / name, "--output", tmp_path / "out.parquet", "--vector-column", "again")
        found = pl.read_parquet(tmp_path / "out.parquet")
        assert found["term"].to_list() == TERMS
        np.testing.assert_array_equal(found["again"].to_numpy(), found["embedding"].to_numpy())


def test_a_compression_that_is_not_read_is_named(tmp_path: Path) -> None:
    pq.write_table(pa.table({"term": TERMS}), tmp_path / "a.parquet", compression="brotli")
    done = lexivec("embed", MODEL, "--column", "term", tmp_path / "a.parquet")
    assert done.returncode == 1
    assert "a.parquet: the column `term` is compressed with Brotli" in done.stderr


def test_nulls_are_errors_or_left_out(tmp_path: Path) -> None:
    path, out = tmp_path / "a.parquet", tmp_path / "out.parquet"
    pq.write_table(pa.table({"term": ["heart", None, " ", "lung"], "id": [1, 2, 3, 4]}), path)
    command = ["embed", MODEL, "--column", "term", path, "--output", out]
    done = lexivec(*command)
    assert done.returncode == 1
    assert "a.parquet: row 1: there is no text in this row" in done.stderr
    for option in (["--skip-empty"], ["--on-error", "skip"]):
        assert lexivec(*command, *option).returncode == 0
        assert pq.read_table(out)["id"].to_pylist() == [1, 4]
    rejects = (tmp_path / "out.parquet.errors.jsonl").read_text().splitlines()
    assert [json.loads(line)["place"].rpartition(": ")[2] for line in rejects] == ["row 1", "row 2"]
    done = lexivec("terms", path, "--model", MODEL, "--output", tmp_path / "map")
    assert "a.parquet: row 1: the term is null" in done.stderr


def write_vectors(path: Path, kind: pa.DataType, rows: list) -> None:
    table = pa.table({"term": TERMS[: len(rows)], "embedding": pa.array(rows, kind)})
    pq.write_table(table, path)


@pytest.mark.parametrize("item", [pa.float16(), pa.float32(), pa.float64()])
@pytest.mark.parametrize("of", [pa.list_, pa.large_list, lambda item: pa.list_(item, 32)])
def test_terms_reads_vectors_of_pyarrow(tmp_path: Path, vectors: np.ndarray, item: pa.DataType, of) -> None:
    rows = list(vectors[:60].astype(item.to_pandas_dtype()))
    path = tmp_path / "a.parquet"
    write_vectors(path, of(item), rows)
    done = lexivec("terms", path, "--vectors", path, "--output", tmp_path / "map")
    assert done.returncode == 0, done.stderr
    assert "60 terms" in done.stdout


def test_vectors_that_cannot_be_analysed_are_errors(tmp_path: Path, vectors: np.ndarray) -> None:
    rows = list(vectors[:60])
    path = tmp_path / "a.parquet"
    for wrong, said in [
        (None, "row 7: there is no vector in this row"),
        (rows[7][:31], "row 7: the vector has 31 numbers"),
        ([*rows[7][:31], None], "row 7: a number of the vector is null"),
        ([*rows[7][:31], float("nan")], "row 7, dimension 31: NaN is not a finite number"),
    ]:
        write_vectors(path, pa.list_(pa.float32()), [*rows[:7], wrong, *rows[8:]])
        done = lexivec("terms", path, "--vectors", path, "--output", tmp_path / "map")
        assert done.returncode == 1
        assert said in done.stderr
