"""Each recipe embeds a small table, and its vectors are those of `lexivec embed`."""

import csv
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import suite

MODEL = suite.ROOT / "models" / "nano"
TERMS = suite.ROOT / "benches" / "terms" / "terms.csv"
RECIPES = sorted((suite.ROOT / "server" / "recipes").glob("*.py"))
KEY = "sk-recipes"
# Java and the clusters of these engines take their time to start on a busy machine.
LIMIT_S = 400


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The project's list of terms, in two files."""
    with TERMS.open(newline="") as file:
        rows = list(csv.DictReader(file))
    table = pa.Table.from_pylist(rows)
    folder = tmp_path_factory.mktemp("terms")
    parts = [folder / "1.parquet", folder / "2.parquet"]
    pq.write_table(table.slice(0, 250), parts[0])
    pq.write_table(table.slice(250), parts[1])
    return parts


@pytest.fixture(scope="module")
def expected(table: list[Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, np.ndarray]:
    """The vector of each term, from `lexivec embed`."""
    output = tmp_path_factory.mktemp("vectors") / "vectors.npy"
    command = [suite.program(), "embed", MODEL, TERMS, "--column", "term", "--output", output]
    subprocess.run(command, check=True, capture_output=True)
    terms = [term for part in table for term in pq.read_table(part)["term"].to_pylist()]
    return dict(zip(terms, np.load(output), strict=True))


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """A server that requires a key."""
    command = [suite.program(), "serve", MODEL, "--port", "0"]
    environment = os.environ | {"LEXIVEC_API_KEY": KEY}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment) as server:
        log = []
        for line in server.stderr:
            log.append(line)
            if address := suite.served_at(line):
                yield f"{address}/v1"
                break
        else:
            pytest.fail("".join(log))
        server.terminate()
        # A full pipe would block the server.
        server.stderr.read()


def test_all_recipes_are_here() -> None:
    assert [recipe.stem for recipe in RECIPES] == ["daft_openai", "ray_data", "spark_udf"]


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.stem)
def test_a_recipe_gives_the_vectors_of_embed(
    recipe: Path, table: list[Path], expected: dict[str, np.ndarray], url: str, tmp_path: Path
) -> None:
    output = tmp_path / "out"
    command = [sys.executable, recipe, *table, output, "--url", url, "--model", "nano", "--column", "term"]
    environment = os.environ | {"LEXIVEC_API_KEY": KEY, "PYSPARK_PYTHON": sys.executable, "RAY_USAGE_STATS_ENABLED": "0"}
    # What an earlier run left is replaced.
    output.mkdir()
    pq.write_table(pq.read_table(table[0]), output / "old.parquet")
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=tmp_path, timeout=LIMIT_S)
    assert done.returncode == 0, done.stderr[-4000:]

    found = pa.concat_tables(pq.read_table(part) for part in sorted(output.glob("*.parquet")))
    assert {"term", "language", "domain", "embedding"} <= set(found.column_names)
    terms, vectors = found["term"].to_pylist(), found["embedding"].to_pylist()
    assert sorted(terms) == sorted(expected)
    for term, vector in zip(terms, vectors, strict=True):
        np.testing.assert_array_equal(np.float32(vector), expected[term])
