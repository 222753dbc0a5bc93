"""Code that the clients' Python scripts share: the servers' addresses, reference vectors, and checks of errors.

Reference vectors are the server's answers to plain urllib, one text at a time, as floats. Clients' batches, formats and
wrappers must not change them.
"""

import contextlib
import json
import math
import os
import urllib.request
from pathlib import Path

URL = os.environ["LEXIVEC_URL"]  # a recorder in front of the server
DIRECT_URL = os.environ["LEXIVEC_DIRECT_URL"]
KEYED_URL = os.environ["LEXIVEC_KEYED_URL"]  # a recorder in front of the server with an API key
KEYED_DIRECT_URL = os.environ["LEXIVEC_KEYED_DIRECT_URL"]
KEY = os.environ["LEXIVEC_KEY"]
MODEL, KEYED_MODEL = "nano", "demo/nano"
WIDTH = 256

TEXTS = json.loads((Path(__file__).parent / "texts.json").read_text())
UNICODE, TERMS, INSTRUCTION = TEXTS["unicode"], TEXTS["terms"], TEXTS["instruction"]
MANY = [f"term number {i}" for i in range(2048)]
TOO_LONG = "cardiac arrest " * 4096


def post(path: str, body: dict) -> object:
    """Sends a request without a client and a recorder; returns the answer."""
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(DIRECT_URL + path, json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request) as response:
        return json.load(response)


def reference(texts: list[str], **fields) -> list[list[float]]:
    body = {"model": MODEL, **fields}
    return [post("/v1/embeddings", body | {"input": text})["data"][0]["embedding"] for text in texts]


def same(got: list, expected: list[list[float]]) -> bool:
    """Whether vectors agree to the precision of float32."""
    close = (abs(a - b) < 1e-7 for x, y in zip(got, expected, strict=True) for a, b in zip(x, y, strict=True))
    return all(close)


def unit(vector) -> bool:
    return abs(math.hypot(*vector) - 1) < 1e-5


def cosine(a, b) -> float:
    return sum(x * y for x, y in zip(a, b, strict=True)) / math.hypot(*a) / math.hypot(*b)


def recorded(url: str = URL) -> list[dict]:
    """Returns the requests since the last call."""
    with urllib.request.urlopen(f"{url}/recorder") as response:
        return json.load(response)


@contextlib.contextmanager
def rejected(error_type: type[Exception], words: str = "", url: str = URL, **attributes):
    """Checks that the block raises `error_type` with these words and attributes after a single request."""
    recorded(url)
    try:
        yield
    except error_type as error:
        assert words in str(error), f"{words!r} is not in {error}"
        for name, value in attributes.items():
            assert getattr(error, name) == value, f"{name}: {getattr(error, name)!r} instead of {value!r}"
        statuses = [request["status"] for request in recorded(url)]
        assert len(statuses) == 1, f"the client sent the request {len(statuses)} times despite a permanent error: {statuses}"
    else:
        raise AssertionError(f"{error_type.__name__} was not raised ({words}, {attributes})")
