"""Inputs of `lexivec embed` in an object store, for which moto stands in."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import boto3
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import requests
import suite
from moto.server import ThreadedMotoServer

MODEL = suite.ROOT / "models" / "nano"
KEY, SECRET = "AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI-the-secret"
OBJECTS = 11
# More rows than a batch has.
ROWS = 1500


class Store:
    """An object store, and the files of its bucket `terms` on this machine."""

    def __init__(self, endpoint: str, folder: Path) -> None:
        self.endpoint = endpoint
        self.folder = folder
        self.variables = {
            "AWS_ENDPOINT_URL": endpoint,
            "AWS_ALLOW_HTTP": "true",
            "AWS_ACCESS_KEY_ID": KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET,
        }
        keys = {"aws_access_key_id": KEY, "aws_secret_access_key": SECRET, "region_name": "us-east-1"}
        self.client = boto3.client("s3", endpoint_url=endpoint, **keys)

    def put(self, key: str, contents: bytes) -> None:
        self.client.put_object(Bucket="terms", Key=key, Body=contents)

    def command(self, *arguments: object) -> list[str]:
        columns = ["--column", "term", "--dimensions", 32]
        return [str(suite.program()), "embed", str(MODEL), *map(str, [*columns, *arguments])]

    def environment(self, **variables: str) -> dict[str, str]:
        """The variables of the store, and none of the caller's own stores."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        return {**inherited, **self.variables, **variables}

    def embed(self, *arguments: object, **variables: str) -> subprocess.CompletedProcess:
        environment = self.environment(**variables)
        done = subprocess.run(self.command(*arguments), capture_output=True, text=True, env=environment)
        assert SECRET not in done.stderr and KEY not in done.stderr, done.stderr
        return done

    def refused(self, *arguments: object, **variables: str) -> str:
        done = self.embed(*arguments, **variables)
        assert done.returncode != 0
        return done.stderr


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    store = Store(f"http://{host}:{port}", tmp_path_factory.mktemp("store"))
    store.client.create_bucket(Bucket="terms")
    for number in range(OBJECTS):
        terms = [f"interest rate {number} {row}" for row in range(ROWS)]
        path = store.folder / f"{number:02}.parquet"
        pq.write_table(pa.table({"term": terms, "row": range(ROWS)}), path, row_group_size=400)
        store.put(f"parquet/{path.name}", path.read_bytes())
    (store.folder / "a.csv").write_text("term,id\nheart,1\nlung,2\n")
    store.put("mixed/a.csv", (store.folder / "a.csv").read_bytes())
    store.put("mixed/_SUCCESS", b"")
    store.put("mixed/sub/b.csv", b"other\n")
    yield store
    server.stop()


@pytest.mark.parametrize("url", ["s3://terms/parquet/0*.parquet", "s3://terms/parquet/", "s3://terms/parquet"])
@pytest.mark.parametrize("output", ["out.parquet", "out.npy"])
def test_objects_give_the_vectors_of_files(store: Store, tmp_path: Path, url: str, output: str) -> None:
    files = sorted(store.folder.glob("0*.parquet" if "*" in url else "*.parquet"))
    for name, inputs in [("remote", [url]), ("local", files)]:
        (tmp_path / name).mkdir()
        done = store.embed(*inputs, "--output", tmp_path / name / output)
        assert done.returncode == 0, done.stderr
    assert (tmp_path / "remote" / output).read_bytes() == (tmp_path / "local" / output).read_bytes()


def test_other_formats_are_read_and_files_come_between_objects(store: Store) -> None:
    file = store.folder / "a.csv"
    for inputs in [["s3://terms/mixed/", file, "s3://terms/mixed/a.csv"], [file, "s3://terms/mixed/*.csv", file]]:
        assert store.embed(*inputs).stdout == store.embed(file, file, file).stdout != ""


def test_messages_name_the_url_and_what_to_do(store: Store, tmp_path: Path) -> None:
    for url, said in [
        ("s3://missing/a.csv", "s3://missing/a.csv: there is no bucket `missing`"),
        ("s3://missing/", "there is no bucket `missing`"),
        ("s3://missing/*.csv", "there is no bucket `missing`"),
        ("s3://terms/b.csv", "s3://terms/b.csv: there is no such object"),
        ("s3://terms/*.csv", "no object matches"),
        ("s3://terms/none/", "the folder contains no object"),
        ("s3://terms/mixed/sub/b.csv", "s3://terms/mixed/sub/b.csv: there is no column `term`"),
    ]:
        assert said in store.refused(url), url
    url = "s3://terms/mixed/a.csv"
    assert "needs AWS_ALLOW_HTTP=true" in store.refused(url, AWS_ALLOW_HTTP="false")
    assert f"{url}: the store cannot be read" in store.refused(url, AWS_ENDPOINT_URL="http://127.0.0.1:9")
    for endpoint in ["", "not a URL", "http://user:password@host"]:
        assert "AWS_ENDPOINT_URL: the value is no URL" in store.refused(url, AWS_ENDPOINT_URL=endpoint)
    assert "AWS_SESSION_TOKEN: the value has a line break" in store.refused(url, AWS_SESSION_TOKEN="a\nb")
    assert "cannot be copied to /missing: set TMPDIR" in store.refused(url, TMPDIR="/missing")
    assert "lexivec writes no object stores" in store.refused(url, "--output", "s3://terms/out.npy")
    store.put("bad/a.csv", b"term,id\nheart,1\n,2\n")
    assert "s3://terms/bad/a.csv:3: there is no text in this row" in store.refused("s3://terms/bad/a.csv")


def test_other_commands_read_objects_or_say_that_they_do_not(store: Store, tmp_path: Path) -> None:
    def run(*arguments: object) -> subprocess.CompletedProcess:
        command = [suite.program(), *arguments]
        return subprocess.run(list(map(str, command)), capture_output=True, text=True, env=store.environment())

    texts = ["--column", "term", "--texts", "s3://terms/mixed/"]
    compared = run("compare", MODEL, MODEL, *texts)
    assert compared.returncode == 0, compared.stderr
    for command in [
        ["compare", MODEL, MODEL, *texts, "--pairs", "s3://terms/pairs.csv"],
        ["compare", MODEL, MODEL, *texts, "--retrieval", "s3://terms/beir"],
        ["terms", "--model", MODEL, "--output", tmp_path / "out", "s3://terms/mixed/a.csv"],
    ]:
        done = run(*command)
        assert done.returncode != 0 and "as the texts of `embed` and `compare` only" in done.stderr, done.stderr


def test_denied_access_is_named_without_the_credentials(store: Store) -> None:
    requests.post(f"{store.endpoint}/moto-api/reset-auth", data="0", timeout=10)
    try:
        for url in ["s3://terms/mixed/a.csv", "s3://terms/mixed/", "s3://terms/*.csv"]:
            said = store.refused(url)
            assert f"{url}: the store denies access" in said and "AWS_ACCESS_KEY_ID" in said
    finally:
        requests.post(f"{store.endpoint}/moto-api/reset-auth", data="inf", timeout=10)


def test_a_killed_job_continues_and_refuses_other_rows(store: Store, tmp_path: Path) -> None:
    output, record = tmp_path / "out.npy", tmp_path / "out.npy.partial.json"
    command = ["s3://terms/parquet/*.parquet", "--output", output]
    with subprocess.Popen(store.command(*command), env=store.environment(), stderr=subprocess.PIPE) as job:
        while not record.exists() and job.poll() is None:
            time.sleep(0.001)
        job.kill()
    assert job.returncode == -signal.SIGKILL
    contents = (store.folder / "00.parquet").read_bytes()
    store.put("parquet/00.parquet", (store.folder / "01.parquet").read_bytes())
    assert "the input does not begin with the" in store.refused(*command, "--resume")
    store.put("parquet/00.parquet", contents)
    done = store.embed(*command, "--resume")
    assert done.returncode == 0 and "of them were in the unfinished output" in done.stderr, done.stderr
    store.embed(*sorted(store.folder.glob("*.parquet")), "--output", tmp_path / "local.npy")
    assert output.read_bytes() == (tmp_path / "local.npy").read_bytes()
