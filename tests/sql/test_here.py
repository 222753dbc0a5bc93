"""Queries on one machine."""

import csv
import json
import os
import shutil
import socket
import subprocess
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import suite
from conftest import SMALL
from programs import SQL, fails, free_port, lexivec, passes, read, sql, vectors


@pytest.fixture(scope="module")
def embedded(tmp_path_factory: pytest.TempPathFactory, model: Path, tables: Path) -> Path:
    """Returns the vectors that `lexivec embed` computes for the texts of the small table."""
    out = tmp_path_factory.mktemp("embed") / "small.parquet"
    passes(lexivec("embed", model, tables / "small.parquet", "--column", "term", "--skip-empty", "--output", out))
    return out


@pytest.mark.parametrize("name", ["small.parquet", "small.csv"])
def test_vectors_are_those_of_lexivec_embed_bit_for_bit(
    tmp_path: Path, model: Path, tables: Path, embedded: Path, name: str
) -> None:
    query = "SELECT id, term, embed(term) AS v FROM terms WHERE term <> ''"
    passes(sql(model, "--table", f"terms={tables / name}", "--output", tmp_path / "out.parquet", query))
    found, expected = pq.read_table(tmp_path / "out.parquet"), pq.read_table(embedded)
    # One partition keeps the rows in the order of the file.
    assert found["id"].to_pylist() == expected["id"].to_pylist()
    np.testing.assert_array_equal(vectors(found), vectors(expected, "embedding"))
    metadata = found.schema.field("v").metadata
    assert metadata[b"lexivec.model"] == b"nano" and metadata[b"lexivec.dimensions"] == b"256"
    assert metadata[b"lexivec.model_digest"] == pq.read_metadata(embedded).metadata[b"lexivec.model_digest"]


def test_instructions_and_dimensions_are_those_of_lexivec_embed(tmp_path: Path, model: Path, tables: Path) -> None:
    for number, (instruction, flags) in enumerate(
        [
            ("'medical'", ["--domain", "medical"]),
            ("'Represent the medical concept:'", ["--instruction", "Represent the medical concept:"]),
            ("NULL", []),
        ]
    ):
        out, expected = tmp_path / f"{number}.parquet", tmp_path / f"embed-{number}.parquet"
        query = f"SELECT id, embed(term, {instruction}, 64) AS v FROM terms WHERE term IS NOT NULL"
        passes(sql(model, "-t", f"terms={tables / 'small.csv'}", "-o", out, query))
        given = ["--column", "term", "--dimensions", 64, "--skip-empty", *flags, "--output", expected]
        passes(lexivec("embed", model, tables / "small.parquet", *given))
        np.testing.assert_array_equal(vectors(read(out)), vectors(read(expected), "embedding"))


def test_null_stays_null_and_a_constant_is_repeated(tmp_path: Path, model: Path, tables: Path) -> None:
    query = "SELECT id, term, embed(term, NULL, 8) AS v, embed('heart failure 0', NULL, 8) AS c FROM terms"
    passes(sql(model, "-t", f"terms={tables / 'small.parquet'}", "-o", tmp_path / "out.parquet", query))
    found = pq.read_table(tmp_path / "out.parquet").to_pylist()
    assert len(found) == SMALL
    assert all((row["v"] is None) == (row["term"] is None) for row in found)
    assert all(row["c"] == found[0]["v"] for row in found)


def test_vectors_work_in_expressions(model: Path, tables: Path) -> None:
    query = "SELECT term, cosine_distance(embed(term), embed('心脏骤停 6')) AS distance FROM terms WHERE term IS NOT NULL ORDER BY distance LIMIT 1"
    assert "心脏骤停 6 " in passes(sql(model, "-t", f"terms={tables / 'small.parquet'}", query))
    query = "SELECT term FROM terms WHERE cosine_distance(embed(term), embed('心脏骤停 6')) < 0.001"
    assert "心脏骤停 6 " in passes(sql(model, "-t", f"terms={tables / 'small.parquet'}", query))


def test_statements_before_the_query_make_its_tables(model: Path, tables: Path) -> None:
    create = f"CREATE EXTERNAL TABLE terms STORED AS CSV LOCATION '{tables / 'small.csv'}' OPTIONS ('format.has_header' 'true');"
    shown = passes(sql(model, f"{create} SELECT id, embed(term) AS v FROM terms ORDER BY id LIMIT 2"))
    # A vector is shortened for people.
    assert "… 256]" in shown and shown.count("\n") == 6, shown


def test_csv_and_json_lines_have_the_vectors_of_parquet(tmp_path: Path, model: Path, tables: Path) -> None:
    query = "SELECT id, embed(term, NULL, 16) AS v FROM terms ORDER BY id LIMIT 3"
    for name in ("a.parquet", "a.csv", "a.jsonl"):
        passes(sql(model, "-t", f"terms={tables / 'small.parquet'}", "-o", tmp_path / name, query))
    expected = vectors(pq.read_table(tmp_path / "a.parquet"))
    rows = [json.loads(line)["v"] for line in (tmp_path / "a.jsonl").read_text().splitlines()]
    np.testing.assert_array_equal(np.array(rows, np.float32).view(np.uint32), expected)
    lines = (tmp_path / "a.csv").read_text().splitlines()[1:]
    rows = [json.loads(line.split(",", 1)[1].strip('"')) for line in lines]
    np.testing.assert_array_equal(np.array(rows, np.float32).view(np.uint32), expected)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.csv", "a.jsonl", "a.parquet"]


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("SELECT embed(trem) FROM terms", "trem"),
        ("SELECT embed(term) FROM trems", "trems"),
        ("SELECT embed(id) FROM terms", "embed(): argument `text` has the type Int64"),
        ("SELECT embed() FROM terms", "embed"),
        ("SELECT embed(term, NULL, 64, 1) FROM terms", "here are 4 arguments"),
        ("SELECT embed(term, NULL, id) FROM terms", "argument `dimensions` must be a constant"),
        ("SELECT embed(term, NULL, 257) FROM terms", "argument `dimensions` is 257; this model's vectors have 1 to 256"),
        ("SELECT embed(term, NULL, 0) FROM terms", "argument `dimensions` is 0"),
        ("SELECT embed(term, NULL, 'x') FROM terms", "argument `dimensions` has the type Utf8"),
        ("SELECT embed(term, term) FROM terms", "argument `instruction` must be a constant"),
        ("SELECT embed(term, 'medicla') FROM terms", "medicla"),
        ("SELECT embed(term, 7) FROM terms", "argument `instruction` has the type Int64"),
        ("SELECT embed(repeat(term, 2000)) FROM terms", "embed(): argument `text`"),
        ("SELECT embed('') FROM terms", "embed(): argument `text`"),
        ("SELECT embed(term FROM terms", "cannot be parsed"),
        ("SELECT id FROM terms ORDER BY cosine_distance(embed(term), embed('a'))", "embed() cannot be called in ORDER BY"),
        (" ", "the query is empty"),
    ],
)
def test_a_wrong_query_says_what_is_wrong(tmp_path: Path, model: Path, tables: Path, query: str, said: str) -> None:
    message = fails(sql(model, "-t", f"terms={tables / 'small.parquet'}", "-o", tmp_path / "out.parquet", query))
    assert said in message, message
    assert list(tmp_path.iterdir()) == []


def test_wrong_files_and_addresses_say_what_is_wrong(tmp_path: Path, model: Path, tables: Path) -> None:
    query = "SELECT embed(term) FROM terms"
    assert "nothing.csv" in fails(sql(model, "-t", f"terms={tmp_path / 'nothing.csv'}", query))
    (tmp_path / "a.txt").write_text("x\n")
    assert "the format is not known" in fails(sql(model, "-t", f"terms={tmp_path / 'a.txt'}", query))
    (tmp_path / "a.parquet").write_text("no parquet")
    assert "the columns cannot be read" in fails(sql(model, "-t", f"terms={tmp_path / 'a.parquet'}", query))
    small = f"terms={tables / 'small.csv'}"
    assert "name the file .parquet, .csv or .jsonl" in fails(sql(model, "-t", small, "-o", tmp_path / "a.xlsx", query))
    port = free_port()
    message = fails(sql(model, "-t", small, "--scheduler", f"127.0.0.1:{port}", query))
    assert f"127.0.0.1:{port} cannot be reached" in message and "lexivec sql scheduler" in message


def test_long_texts_are_truncated_on_request(model: Path, tables: Path) -> None:
    query = "SELECT embed(repeat(term, 2000)) FROM terms WHERE id < 2"
    passes(sql(model, "-t", f"terms={tables / 'small.csv'}", "--truncate", query))


def test_lexivec_runs_the_program_beside_it(tmp_path: Path) -> None:
    shutil.copy(suite.program(), tmp_path / "lexivec")
    run = lambda **options: subprocess.run([tmp_path / "lexivec", "sql", "--version"], capture_output=True, text=True, **options)  # noqa: E731
    message = run(env={"PATH": "/nowhere"})
    assert message.returncode == 1 and "lexivec-sql is not installed" in message.stderr
    (tmp_path / "lexivec-sql").symlink_to(SQL)
    assert passes(run()).startswith("lexivec sql ")


def test_values_with_line_breaks_and_nan_are_read_as_they_are(tmp_path: Path, model: Path) -> None:
    rows = [{"id": f"k{number}", "text": f"line one {number}\nfake{number},line two"} for number in range(200)]
    with (tmp_path / "breaks.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, ["id", "text"], quoting=csv.QUOTE_ALL)
        writer.writeheader()
        writer.writerows(rows)
    query = "SELECT count(*) AS rows, count(DISTINCT id) AS ids FROM t"
    for partitions in ("1", "4"):
        passes(sql(model, "-t", f"t={tmp_path / 'breaks.csv'}", "--partitions", partitions, "-o", tmp_path / "n.parquet", query))
        assert pq.read_table(tmp_path / "n.parquet").to_pylist() == [{"rows": 200, "ids": 200}]

    # The least and the largest number of the column are equal, because they leave NaN out.
    pq.write_table(pa.table({"id": [1, 2], "score": [1.0, float("nan")]}), tmp_path / "nan.parquet")
    passes(sql(model, "-t", f"t={tmp_path / 'nan.parquet'}", "-o", tmp_path / "out.parquet", "SELECT id FROM t WHERE isnan(score)"))
    assert read(tmp_path / "out.parquet")["id"].to_pylist() == [2]


def test_what_would_be_read_or_written_wrongly_is_an_error(tmp_path: Path, model: Path) -> None:
    (tmp_path / "mixed").mkdir()
    (tmp_path / "mixed" / "a.csv").write_text("id,text\n1,alpha\n")
    (tmp_path / "mixed" / "b.csv").write_text("text,id\ngamma,3\n")
    assert "b.csv: the first line is not that of" in fails(sql(model, "-t", f"t={tmp_path / 'mixed'}", "SELECT id FROM t"))
    table = tmp_path / "t.parquet"
    pq.write_table(pa.table({"id": [1, 2]}), table)
    assert "this is a file of a --table" in fails(sql(model, "-t", f"t={table}", "-o", table, "SELECT id FROM t LIMIT 1"))
    assert read(table).num_rows == 2


def test_a_port_that_is_taken_ends_an_executor_with_an_error(model: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        command = [SQL, "executor", "--model", model, "--port", port, "--scheduler", f"127.0.0.1:{free_port()}"]
        assert f"port {port} of 127.0.0.1 cannot be opened" in fails(subprocess.run(command, capture_output=True, text=True))


@pytest.mark.parametrize("value", ["1", "on", "true"])
def test_switches_take_the_values_of_lexivec(model: Path, value: str) -> None:
    command = [SQL, "--model", model, "SELECT 1 AS one"]
    passes(subprocess.run(command, env=os.environ | {"LEXIVEC_OFFLINE": value}, capture_output=True, text=True))


@pytest.mark.parametrize("flag", ["--shard-files", "--concurrent-shards"])
def test_flags_of_shards_need_a_folder(model: Path, tables: Path, flag: str) -> None:
    done = sql(model, "-t", f"t={tables / 'small.csv'}", flag, 2, "SELECT id FROM t")
    assert done.returncode == 2 and "--output-dir" in done.stderr
