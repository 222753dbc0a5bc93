"""A proxy between a client and the server, which records requests and checks every answer independently of the client.

`GET /recorder` returns the requests since the last such call as `[{"method", "path", "status", "attempt", "fields"}]`.
`attempt` is the client's count of retries. `fields` are the body's fields except the input.
"""

import http.client
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

PERMANENT = {400, 401, 404, 405, 413, 415}
BASE64 = re.compile(rb'"embedding":\s*"')
# Routes of text-embeddings-inference, whose errors have its format. POST / has this format as well.
TEI = {"/embed", "/tokenize", "/info"}
HOP_BY_HOP = {"connection", "transfer-encoding", "host"}


class Recorder:
    """A proxy on a free port, which forwards requests to `server` for the duration of a `with` block."""

    def __init__(self, server: str):
        self.target = urlsplit(server).netloc
        self.requests: list[dict] = []
        self.violations: list[str] = []
        self.total = 0

    def __enter__(self) -> "Recorder":
        handler = type("Handler", (Handler,), {"recorder": self})
        self.listener = Listener(("127.0.0.1", 0), handler)
        self.address = f"http://127.0.0.1:{self.listener.server_address[1]}"
        threading.Thread(target=self.listener.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_) -> None:
        self.listener.shutdown()
        self.listener.server_close()

    def drain(self) -> list[dict]:
        taken, self.requests = self.requests, []
        return taken

    def record(self, request: dict, answer: http.client.HTTPResponse, body: bytes) -> None:
        self.total += 1
        self.requests.append(request)
        if broken := violation(request, answer, body):
            line = f"{request['method']} {request['path']} was answered {answer.status}: {broken}: {body[:300]!r}"
            self.violations.append(line)


def violation(request: dict, answer: http.client.HTTPResponse, body: bytes) -> str | None:
    """Returns the rule of the contract for all answers that this answer violates, or None."""
    if not answer.headers.get("x-request-id"):
        return "no x-request-id"
    if answer.status < 400:
        base64 = request["fields"].get("encoding_format") == "base64"
        return "the vectors are not base64, which the request asked for" if base64 and not BASE64.search(body) else None
    if answer.status == 429:
        return None if answer.headers.get("retry-after") else "no Retry-After"
    if answer.status not in PERMANENT:
        return "the status is retryable or undocumented"
    if request["method"] == "HEAD":
        return None
    try:
        error = json.loads(body)["error"]
        path = request["path"].rstrip("/")
        if path in TEI or (path == "" and request["method"] == "POST"):
            known = isinstance(error, str) and json.loads(body).keys() == {"error", "error_type"}
        else:
            known = error.keys() == {"message", "type", "param", "code"} and error["message"] and error["type"]
    except (ValueError, KeyError, TypeError, AttributeError):
        known = False
    return None if known else "the body is not an error in the format of the route's API"


class Listener(ThreadingHTTPServer):
    # Clients open dozens of connections at once. With the default of 5, the kernel may reset some.
    request_queue_size = 256


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    recorder: Recorder

    def handle_any(self) -> None:
        if self.path == "/recorder":
            return self.answer(200, {"content-type": "application/json"}, json.dumps(self.recorder.drain()).encode())
        asked = self.rfile.read(int(self.headers.get("content-length") or 0))
        passed_on = {name: value for name, value in self.headers.items() if name.lower() not in HOP_BY_HOP}
        connection = http.client.HTTPConnection(self.recorder.target, timeout=120)
        try:
            connection.request(self.command, self.path, asked, passed_on)
            answer = connection.getresponse()
            body = answer.read()
        except (OSError, http.client.HTTPException) as error:
            self.recorder.violations.append(f"{self.command} {self.path} had no answer: {error!r}")
            self.close_connection = True
            return None
        finally:
            connection.close()
        request = {
            "method": self.command,
            "path": self.path,
            "status": answer.status,
            "attempt": int(self.headers.get("x-stainless-retry-count") or 0),
            "fields": fields(asked),
        }
        self.recorder.record(request, answer, body)
        return self.answer(answer.status, dict(answer.headers.items()), body)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = do_HEAD = do_TRACE = do_QUERY = handle_any

    def answer(self, status: int, headers: dict, body: bytes) -> None:
        self.send_response_only(status)
        for name, value in headers.items():
            if name.lower() not in HOP_BY_HOP | {"content-length"}:
                self.send_header(name, value)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_) -> None:
        pass


def fields(body: bytes) -> dict:
    try:
        parsed = json.loads(body)
        return {name: value for name, value in parsed.items() if name not in ("input", "inputs")}
    except (ValueError, AttributeError):
        return {}
