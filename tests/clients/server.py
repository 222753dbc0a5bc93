"""A real `lexivec serve models/nano`, for as long as a `with` block runs."""

import re
import subprocess
import sys
import threading
from pathlib import Path

from environments import suite



class Server:
    """Starts on a free port; `address` is its URL. On leaving, SIGTERM has to end it with exit code 0."""

    def __init__(self, program: Path, *flags: str):
        self.command = [program, "serve", suite.ROOT / "models" / "nano", "--port", "0", *flags]
        self.log: list[str] = []

    def __enter__(self) -> "Server":
        self.process = subprocess.Popen(self.command, stderr=subprocess.PIPE, text=True)
        for line in self.process.stderr:
            if match := re.search(r"serving .* at (http://\S+)/v1", line):
                self.address = match[1]
                # Read on, or a full pipe would stop the server.
                threading.Thread(target=lambda: self.log.extend(self.process.stderr), daemon=True).start()
                return self
            self.log.append(line)
        sys.exit(f"{''.join(self.log)}the server did not start: {' '.join(map(str, self.command))}")

    def __exit__(self, kind, value, traceback) -> None:
        ended = self.process.poll()
        self.process.terminate()
        code = self.process.wait(timeout=60)
        if ended is not None or code != 0:
            log = "".join(self.log[-50:])
            when = "while clients were using it" if ended is not None else "on SIGTERM"
            sys.exit(f"{log}the server ended with exit code {code} {when}; the end of its log is above")
