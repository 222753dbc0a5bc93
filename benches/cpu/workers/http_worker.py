"""`lexivec serve` over HTTP. Only the server's memory counts.

The response cache is off, because it would answer repeated texts without the model. The KV cache for shared instructions keeps its
default. The time includes the transfer. The connection is open and the request encoded before, and the answer is read but not decoded.
"""

import base64
import http.client
import json
import os
import socket
import subprocess
import sys
import time

import numpy as np

import protocol

MODEL = "model"
START_SECONDS = 300


def free_port() -> int:
    """Returns a port that is not in use."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def is_ready(port: int) -> bool:
    """Whether the server has loaded its model."""
    try:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        connection.request("GET", "/readyz")
        return connection.getresponse().status == 200
    except OSError:
        return False


def start(program: str, model: str, max_length: int) -> tuple[subprocess.Popen, int]:
    """Starts the server and waits until it is ready; returns it and its port."""
    port = free_port()
    command = [program, "serve", model, "--served-model-name", MODEL, "--port", str(port), "--log", "warn"]
    command += ["--cache-bytes", "0", "--max-length", str(max_length), "--request-timeout", "3600"]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=sys.stderr)
    end = time.monotonic() + START_SECONDS
    while not is_ready(port):
        if process.poll() is not None or time.monotonic() > end:
            process.kill()
            sys.exit(f"lexivec serve {model} did not start")
        time.sleep(0.05)
    return process, port


def serve(connection: http.client.HTTPConnection) -> None:
    """Answers lines until the input ends."""
    for line in sys.stdin:
        job = json.loads(line)
        body = json.dumps({"model": MODEL, "input": job["texts"], "encoding_format": "base64"}).encode()
        # The server closes connections that are idle, as this one is while the system is paused.
        connection.close()
        connection.connect()
        started = time.perf_counter()
        connection.request("POST", "/v1/embeddings", body, {"Content-Type": "application/json"})
        response = connection.getresponse()
        content = response.read()
        answer: dict = {"seconds": time.perf_counter() - started}
        if response.status != 200:
            answer = {"error": f"{response.status}: {content[:300].decode(errors='replace')}"}
        elif job["vectors"]:
            data = json.loads(content)["data"]
            answer["vectors"] = [np.frombuffer(base64.b64decode(item["embedding"]), "<f4").tolist() for item in data]
        protocol.say(answer)


def main() -> None:
    arguments = protocol.arguments()
    process, port = start(os.environ["LEXIVEC_PROGRAM"], str(arguments.model), arguments.max_length)
    protocol.say({"pid": process.pid, "note": ""})
    try:
        serve(http.client.HTTPConnection("127.0.0.1", port))
    finally:
        process.terminate()
        process.wait()


if __name__ == "__main__":
    main()
