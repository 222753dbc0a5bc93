"""Queries on clusters of processes, and what remains of them when processes are killed."""

import json
import os
import signal
import subprocess
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import suite
from conftest import LARGE
from programs import NANO, SQL, Cluster, fails, free_port, lexivec, passes, read, sql, vectors, wait_for

QUERY = "SELECT id, embed(term, 'medical', 128) AS v FROM terms ORDER BY id"


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory, model: Path, tables: Path) -> pa.Table:
    """Returns the result of QUERY over the large table on one machine."""
    out = tmp_path_factory.mktemp("here") / "large.parquet"
    passes(sql(model, "-t", f"terms={tables / 'large.parquet'}", "-o", out, QUERY))
    return read(out)


def check(found: pa.Table, expected: pa.Table) -> None:
    """Checks that nothing is lost, nothing is doubled, and each number has the same bits."""
    assert found["id"].to_pylist() == list(range(LARGE))
    assert found["v"].is_null().to_pylist() == expected["v"].is_null().to_pylist()
    np.testing.assert_array_equal(vectors(found.drop_null()), vectors(expected.drop_null()))


def test_a_cluster_computes_what_one_machine_computes_although_an_executor_is_killed(
    tmp_path: Path, model: Path, tables: Path, here: pa.Table
) -> None:
    arguments = [SQL, "--model", model, "-t", f"terms={tables / 'large.parquet'}", "-o", tmp_path / "out.parquet"]
    with Cluster(tmp_path / "cluster", model) as cluster:
        command = [*arguments, "--scheduler", cluster.address, QUERY]
        passes(subprocess.run(command, capture_output=True, text=True))
        check(read(tmp_path / "out.parquet"), here)

        distances = "SELECT term, cosine_distance(embed(term), embed('heart failure 4')) AS d FROM terms WHERE id < 8 ORDER BY d LIMIT 1"
        shown = passes(sql(model, "-t", f"terms={tables / 'small.csv'}", "--scheduler", cluster.address, distances))
        assert "heart failure 4 " in shown

        before = set(cluster.results_of(1))
        (tmp_path / "out.parquet").unlink()
        client = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        wait_for(lambda: set(cluster.results_of(1)) - before, "a result of the second executor")
        cluster.executors[1].kill()
        assert client.poll() is None, "the query ended before the executor was killed"
        _, messages = client.communicate(timeout=180)
        assert client.returncode == 0, messages
        check(read(tmp_path / "out.parquet"), here)


def test_executors_share_a_csv_file_unless_its_values_have_line_breaks(
    tmp_path: Path, model: Path, tables: Path
) -> None:
    broken = tmp_path / "broken.csv"
    broken.write_text("id,term\n" + "".join(f'{row},"heart\n{row}"\n' for row in range(300)))
    query = "SELECT id, embed(term) AS v FROM terms"
    with Cluster(tmp_path / "cluster", model) as cluster:
        for table, shared in [(tables / "small.csv", True), (broken, False)]:
            before = [set(cluster.results_of(number)) for number in range(2)]
            here, there = tmp_path / "here.parquet", tmp_path / "there.parquet"
            passes(sql(model, "-t", f"terms={table}", "-o", here, query))
            passes(sql(model, "-t", f"terms={table}", "-o", there, "--scheduler", cluster.address, query))
            expected, found = read(here), read(there)
            assert found["id"].to_pylist() == expected["id"].to_pylist()
            np.testing.assert_array_equal(vectors(found.drop_null()), vectors(expected.drop_null()))
            results = [len(set(cluster.results_of(number)) - before[number]) for number in range(2)]
            # One of them is of the query that checks whether the scheduler sees the files.
            assert (min(results) > 2) == shared, results


def test_a_job_continues_after_the_client_and_the_cluster_died(
    tmp_path: Path, model: Path, tables: Path, here: pa.Table
) -> None:
    out = tmp_path / "out"
    arguments = [SQL, "--model", model, "-t", f"terms={tables / 'shards'}", "--output-dir", out]

    def parts() -> dict[str, int]:
        return {path.name: path.stat().st_mtime_ns for path in sorted(out.glob("part-*.parquet"))}

    def listed() -> list[dict]:
        return [part for part in json.loads((out / "_manifest.json").read_text())["parts"] if part]

    with Cluster(tmp_path / "first", model) as cluster:
        client = subprocess.Popen([*arguments, "--scheduler", cluster.address, QUERY], stderr=subprocess.PIPE, text=True)
        wait_for(lambda: out.exists() and (out / "_manifest.json").exists() and len(listed()) >= 2, "the second part")
        client.kill()
        client.communicate()
        cluster.kill()
    complete = {part["file"] for part in listed()}
    before = parts()
    assert len(complete) < 8, "the job ended before it was killed"
    with Cluster(tmp_path / "second", model) as cluster:
        command = [*arguments, "--scheduler", cluster.address]
        assert "add --resume" in fails(subprocess.run([*command, QUERY], capture_output=True, text=True))
        other = [*command, "--resume", QUERY.replace("128", "64")]
        assert "the query is not the same" in fails(subprocess.run(other, capture_output=True, text=True))
        passes(subprocess.run([*command, "--resume", QUERY], capture_output=True, text=True))
    after = parts()
    assert len(after) == 8
    assert {name: after[name] for name in complete} == {name: before[name] for name in complete}
    check(read(out), here)
    manifest = json.loads((out / "_manifest.json").read_text())
    assert manifest["complete"] and sum(part["rows"] for part in manifest["parts"]) == LARGE
    assert not [path for path in out.iterdir() if path.name.startswith(".")]


def test_a_job_on_one_machine_refuses_what_would_be_wrong(tmp_path: Path, model: Path, tables: Path) -> None:
    shards = ["-t", f"terms={tables / 'shards'}", "--output-dir", tmp_path / "out"]
    for query, said in [
        ("SELECT count(*) FROM terms", "GROUP BY or an aggregate function"),
        ("SELECT embed(term) FROM terms LIMIT 3", "LIMIT"),
        ("SELECT DISTINCT term FROM terms", "DISTINCT"),
    ]:
        assert said in fails(sql(model, *shards, query))
    two = ["-t", f"others={tables / 'small.csv'}"]
    assert "name it with --shard" in fails(sql(model, *shards, *two, QUERY))
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "a.txt").write_text("")
    full = ["-t", f"terms={tables / 'small.csv'}", "--output-dir", tmp_path / "full"]
    assert "has files" in fails(sql(model, *full, QUERY))

    table = tmp_path / "terms.csv"
    table.write_text("id,term\n1,a\n")
    small = ["-t", f"terms={table}", "--output-dir", tmp_path / "small"]
    passes(sql(model, *small, QUERY))
    passes(sql(model, *small, "--resume", QUERY))
    table.write_text("id,term\n1,b\n")
    assert "terms.csv is not the same" in fails(sql(model, *small, "--resume", QUERY))


def test_an_executor_with_another_model_refuses_the_plan(tmp_path: Path, model: Path, tables: Path) -> None:
    other = tmp_path / "fp16"
    passes(lexivec("convert", NANO, "--precision", "fp16", "--output", other))
    with Cluster(tmp_path / "cluster", other, executors=1) as cluster:
        message = fails(sql(model, "-t", f"terms={tables / 'small.csv'}", "--scheduler", cluster.address, QUERY))
    assert "the plan needs the model nano" in message and "same precision" in message, message


def test_one_command_starts_and_stops_a_cluster(tmp_path: Path, model: Path, tables: Path) -> None:
    port = free_port()
    variables = {"LEXIVEC_SQL": SQL, "LEXIVEC_SQL_PORT": str(port), "RUST_LOG": "ballista_executor=info"}
    command = [suite.ROOT / "server" / "sql" / "cluster.sh", model, "2"]
    log = tmp_path / "cluster.log"
    with log.open("wb") as out:
        cluster = subprocess.Popen(command, env=os.environ | variables, stdout=out, stderr=out, start_new_session=True)
    try:
        wait_for(lambda: log.read_text().count("Starting poll work loop") == 2, "the executors' start")
        address = f"127.0.0.1:{port}"
        query = "SELECT count(*) FROM (SELECT embed(term) AS v FROM terms) WHERE v IS NOT NULL"
        assert "294" in passes(sql(model, "-t", f"terms={tables / 'small.csv'}", "--scheduler", address, query))
        cluster.terminate()
        cluster.wait(timeout=20)
        assert "cannot be reached" in fails(sql(model, "-t", f"terms={tables / 'small.csv'}", "--scheduler", address, query))
    finally:
        if cluster.poll() is None:
            os.killpg(cluster.pid, signal.SIGKILL)


@pytest.mark.parametrize("executors", ["0", "-1", "two"])
def test_the_number_of_executors_is_checked_before_one_starts(executors: str) -> None:
    command = [suite.ROOT / "server" / "sql" / "cluster.sh", NANO, executors]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2 and f"EXECUTORS is {executors}" in done.stderr
