"""Parquet files of `lexivec embed`, loaded into LanceDB, Qdrant and PostgreSQL with pgvector by the code of README.md."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import postgres
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import readme
import suite
from program import MODEL, lexivec

WIDTH = 64
LANCEDB, QDRANT = readme.blocks("python")
# The two terms that are nearest to the query, as README.md prints them.
NEAREST = ["myocardial infarction", "cardiac arrest"]


def embed(source: Path, *options: object) -> None:
    done = lexivec("embed", MODEL, source, "--column", "term", "--dimensions", WIDTH, *options)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module", params=["file", "parts"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the code of README.md runs: terms.parquet, a file or a folder of parts, and query.jsonl."""
    folder = tmp_path_factory.mktemp(request.param)
    terms = folder / "terms.csv"
    terms.write_text((suite.ROOT / "benches" / "terms" / "terms.csv").read_text())
    if request.param == "parts":
        # A chunk has 1,024 texts, and a part has at least one chunk.
        with terms.open("a") as file:
            file.writelines(f"interest rate {number},en,finance\n" for number in range(2100))
        embed(terms, "--output", folder / "terms.parquet", "--part-rows", 1)
        assert len(list((folder / "terms.parquet").glob("part-*.parquet"))) > 2
    else:
        embed(terms, "--output", folder / "terms.parquet")
    (folder / "query.txt").write_text(NEAREST[0])
    embed(folder / "query.txt", "--output", folder / "query.jsonl")
    return folder


def numbers(table: pa.Table) -> np.ndarray:
    return table["embedding"].combine_chunks().flatten().to_numpy().reshape(-1, WIDTH)


@pytest.fixture(scope="module")
def vectors(folder: Path) -> np.ndarray:
    return numbers(pq.read_table(folder / "terms.parquet"))


def run(code: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict:
    """Runs Python code of README.md, and returns its names."""
    monkeypatch.chdir(folder)
    names = {}
    exec(code, names)
    return names


def test_lancedb(folder: Path, vectors: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    names = run(LANCEDB, folder, monkeypatch)
    assert [found["term"] for found in names["found"].to_list()] == NEAREST
    stored = names["table"].to_arrow()
    assert stored["embedding"].type == pa.list_(pa.float32(), WIDTH)
    np.testing.assert_array_equal(numbers(stored), vectors)


def test_qdrant(folder: Path, vectors: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    names = run(QDRANT, folder, monkeypatch)
    client, found = names["client"], names["found"]
    assert [point.payload["term"] for point in found] == NEAREST
    assert found[0].payload == {"term": NEAREST[0], "language": "en", "domain": "medicine"}
    stored = client.retrieve("terms", ids=range(len(vectors)), with_vectors=True)
    # Qdrant normalises vectors again.
    np.testing.assert_allclose([point.vector for point in stored], vectors, atol=1e-6)


@pytest.fixture(scope="module")
def server() -> Iterator[dict[str, str]]:
    with postgres.server() as variables:
        yield variables


# float16 rounds the values of a unit vector by at most 2^-12.
@pytest.mark.parametrize(("kind", "error"), [("vector", 0), ("halfvec", 2**-12)])
def test_pgvector(folder: Path, server: dict[str, str], vectors: np.ndarray, kind: str, error: float) -> None:
    database = f"{kind}_{folder.name}"
    programs = f"{Path(sys.executable).parent}:{server['PATH']}"

    def run(command: str, database: str = database) -> str:
        variables = os.environ | server | {"PATH": programs, "PGDATABASE": database}
        done = subprocess.run(["bash", "-c", command], cwd=folder, env=variables, capture_output=True, text=True)
        assert done.returncode == 0, f"{command}\n{done.stderr}"
        return done.stdout

    run(f"psql -c 'create database {database}'", "postgres")
    for command in readme.commands("psql"):
        if (folder / "terms.parquet").is_dir():
            command = command.replace("'terms.parquet'", "'terms.parquet/*.parquet'")
        printed = run(command.replace("vector(", f"{kind}("))
    assert [line.strip() for line in printed.splitlines()[2:4]] == NEAREST
    run(f"psql -c 'create index on terms using hnsw (embedding {kind}_cosine_ops)'")
    stored = [json.loads(line) for line in run("psql -Atc 'select embedding from terms order by ctid'").splitlines()]
    np.testing.assert_allclose(np.array(stored, np.float32), vectors, rtol=0, atol=error)
