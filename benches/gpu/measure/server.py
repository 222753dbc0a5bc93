"""Runs `lexivec serve` and sends requests to it."""

import base64
import http.client
import json
import socket
import subprocess
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from .children import die_with_parent, wait_until
from .program import Lexivec
from .settings import Settings

# A benchmark of the model must not measure cached vectors.
NO_CACHES = ["--cache-bytes", "0", "--prefix-cache-bytes", "0"]
START_SECONDS = 240
Input = Sequence[str] | Sequence[Sequence[int]]


def free_port() -> int:
    """Returns a port that is not in use."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def body(inputs: Input) -> bytes:
    """Returns the body of a request for vectors in base64."""
    return json.dumps({"model": "model", "input": inputs, "encoding_format": "base64"}).encode()


class Connection:
    """A keep-alive connection."""

    def __init__(self, port: int) -> None:
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=300)

    def post(self, path: str, content: bytes) -> bytes:
        """Posts JSON and returns the answer. Raises RuntimeError with the server's message unless the status is 200."""
        self.connection.request("POST", path, content, {"Content-Type": "application/json"})
        response = self.connection.getresponse()
        answer = response.read()
        if response.status != 200:
            raise RuntimeError(f"{path} answered {response.status}: {answer[:300].decode(errors='replace')}")
        return answer

    def embed(self, inputs: Input) -> np.ndarray:
        """Returns the inputs' vectors as a matrix with a row for each."""
        data = json.loads(self.post("/v1/embeddings", body(inputs)))["data"]
        vectors = [np.frombuffer(base64.b64decode(item["embedding"]), "<f4") for item in data]
        return np.stack(vectors)

    def tokens(self, text: str) -> int:
        """Returns the number of a text's tokens, including the appended one."""
        answer = json.loads(self.post("/tokenize", json.dumps({"inputs": text}).encode()))
        return len(answer[0])


class Server:
    """`lexivec serve MODEL --ep cuda`, which runs for the duration of a `with` block."""

    def __init__(self, lexivec: Lexivec, model: Path, settings: Settings, flags: Sequence[object] = ()) -> None:
        self.port = free_port()
        self.log = settings.work / "server.log"
        fixed = ["--ep", "cuda", "--served-model-name", "model", "--request-timeout", "300", *NO_CACHES]
        sized = ["--max-batch-tokens", settings.batch_tokens, "--port", self.port]
        self.command = [str(part) for part in [lexivec.path, "serve", model, *fixed, *sized, *flags]]
        self.environment = lexivec.environment
        self.process: subprocess.Popen | None = None

    def __enter__(self) -> "Server":
        with open(self.log, "w") as log:
            self.process = subprocess.Popen(
                self.command, env=self.environment, stdout=log, stderr=log, preexec_fn=die_with_parent
            )
        try:
            wait_until(self.is_ready, self.process, START_SECONDS, "lexivec serve")
        except RuntimeError as error:
            self.__exit__()
            raise RuntimeError(f"{error}: {self.last_words()}") from None
        return self

    def __exit__(self, *_: object) -> None:
        if self.process and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def is_ready(self) -> bool:
        """Whether the model is loaded and warm."""
        try:
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
            connection.request("GET", "/readyz")
            return connection.getresponse().status == 200
        except OSError:
            return False

    def last_words(self) -> str:
        """Returns the end of the server's log."""
        return " ".join(self.log.read_text(errors="replace").strip().splitlines()[-4:])

    def connect(self) -> Connection:
        """Opens a connection."""
        return Connection(self.port)
