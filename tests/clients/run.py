#!/usr/bin/env python3
"""Runs the guide's notebook flow against a real server, with the oldest and the newest openai client.

Makes a virtual environment per client below the cache folder, builds and starts `lexivec serve`, and runs flow.py in
each environment. Exit code 1 if any of them fails.
"""

import os
import re
import subprocess
import sys
import venv
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
# 1.50.0 passes an argument that httpx 0.28 removed.
CLIENTS = {"oldest": ["openai==1.50.0", "httpx<0.28"], "newest": ["openai"]}


def environment(name: str, requirements: list[str]) -> Path:
    """A virtual environment with the client; made once."""
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "lexivec" / "clients"
    folder = cache / name
    python = folder / "bin" / "python"
    if not (folder / "complete").exists():
        venv.create(folder, with_pip=True, clear=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *requirements], check=True)
        (folder / "complete").touch()
    return python


def main() -> int:
    subprocess.run(["cargo", "build", "--bin", "lexivec", "--locked"], cwd=ROOT, check=True)
    target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    pythons = {name: environment(name, requirements) for name, requirements in CLIENTS.items()}
    command = [target / "debug" / "lexivec", "serve", ROOT / "models" / "nano", "--port", "0"]
    server = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        address = None
        for line in server.stderr:
            if match := re.search(r"serving .* at (http://\S+)/v1", line):
                address = match[1]
                break
            sys.stderr.write(line)
        if address is None:
            sys.exit("the server did not start; its own message is above")
        failed = [name for name, python in pythons.items() if subprocess.run([python, HERE / "flow.py", address]).returncode]
    finally:
        server.terminate()
        code = server.wait(timeout=60)
    print(f"{len(pythons) - len(failed)} passed, {len(failed)} failed")
    if code != 0:
        sys.exit(f"the server ended with exit code {code} on SIGTERM")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
