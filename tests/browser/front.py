"""A proxy in front of a server, with a path prefix, an API key, or its own page."""

import contextlib
import json
import threading
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

# The policy that the server sends with its page.
POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; "
POLICY += "img-src 'self' data:"
# Without the environment's proxies: a thread that looks for them fails while pytest writes PYTEST_CURRENT_TEST.
OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))
REJECTION = {"message": "this server asks for an API key", "type": "invalid_request_error", "code": "invalid_api_key"}


def composed(page: Path) -> bytes:
    """Returns the page as the server sends it: with the style and the script of its folder in their places."""
    text = page.read_text()
    for place, file in (("/*STYLE*/", "style.css"), ("/*SCRIPT*/", "page.js")):
        if place in text:
            text = text.replace(place, page.with_name(file).read_text(), 1)
    return text.encode()


class Front:
    """Forwards requests under `prefix` to `server`. If there is a `key`, `/v1/` requires it."""

    def __init__(self, server: str, prefix: str = "", key: str | None = None, page: Path | None = None) -> None:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                path = self.path.removeprefix(prefix)
                if path == "/" and page:
                    self.answer(200, composed(page), {"Content-Type": "text/html", "Content-Security-Policy": POLICY})
                else:
                    self.forward(path, None)

            def do_POST(self) -> None:
                self.forward(self.path.removeprefix(prefix), self.rfile.read(int(self.headers["Content-Length"])))

            def forward(self, path: str, body: bytes | None) -> None:
                if key and path.startswith("/v1/") and self.headers["Authorization"] != f"Bearer {key}":
                    return self.answer(
                        401, json.dumps({"error": REJECTION}).encode(), {"Content-Type": "application/json"}
                    )
                request = urllib.request.Request(
                    server + path, body, {"Content-Type": self.headers["Content-Type"] or ""}
                )
                try:
                    with OPENER.open(request) as response:
                        self.answer(response.status, response.read(), response.headers)
                except urllib.error.HTTPError as error:
                    self.answer(error.code, error.read(), error.headers)

            def answer(self, status: int, body: bytes, headers) -> None:
                self.send_response(status)
                for name in ("Content-Type", "Content-Security-Policy", "X-Request-Id"):
                    if headers.get(name):
                        self.send_header(name, headers[name])
                self.send_header("Content-Length", str(len(body)))
                with contextlib.suppress(ConnectionError):  # the page cancels a request when it sends a newer one
                    self.end_headers()
                    self.wfile.write(body)

            def log_message(self, *_) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self._server.server_port}{prefix}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
