"""Runs a real `lexivec serve models/nano` for the duration of a `with` block."""

import subprocess
import sys
import threading
from pathlib import Path

from environments import suite



class Server:
    """A server on a free port, whose URL is `address`. At the end, SIGTERM must end it with exit code 0."""

    def __init__(self, program: Path, *flags: str):
        self.command = [program, "serve", suite.ROOT / "models" / "nano", "--port", "0", *flags]
        self.log: list[str] = []

    def __enter__(self) -> "Server":
        self.process = subprocess.Popen(self.command, stderr=subprocess.PIPE, text=True)
        for line in self.process.stderr:
            if address := suite.served_at(line):
                self.address = address
                # A thread reads the rest of the log, because a full pipe would block the server.
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
            when = "during the tests" if ended is not None else "after SIGTERM"
            sys.exit(f"{log}the server ended with exit code {code} {when}; the end of its log is above")
