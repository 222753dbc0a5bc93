#!/usr/bin/env python3
"""Contract tests with real clients against a real server: `make test-clients`.

Sets up the clients' environments (environments.py; once), builds and starts `lexivec serve models/nano` twice, the
second time with an API key and a small queue, and runs each client's script against both, through recorders of its own
(recorder.py). Prints one line per client; exit code 1 if any of them fails.

    run.py [--only NAME] [--fresh]

LEXIVEC_PROGRAM names another program than the one built.
"""

import argparse
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import environments
from environments import suite
from recorder import Recorder
from server import Server

HERE = Path(__file__).resolve().parent
KEY = "a-key-of-the-contract-tests"

# What is run: the script, and the environment it runs in.
CLIENTS = {
    "guide, openai 1.50.0": ("guide.py", "openai-1.50.0"),
    "guide, openai newest": ("guide.py", "openai-newest"),
    "openai 1.50.0": ("openai_client.py", "openai-1.50.0"),
    "openai newest": ("openai_client.py", "openai-newest"),
    "openai-node": ("openai_client.mjs", "node"),
    "langchain": ("langchain_client.py", "frameworks"),
    "llama-index": ("llama_index_client.py", "frameworks"),
    "haystack": ("haystack_client.py", "frameworks"),
    "huggingface_hub": ("hub_client.py", "frameworks"),
    "huggingface_hub newest": ("hub_client.py", "huggingface-newest"),
    "@huggingface/inference": ("inference_client.mjs", "node"),
    "schemathesis, openapi.json": ("own_schema.py", "schemathesis"),
    "schemathesis, openai's schema": ("openai_schema.py", "schemathesis"),
}


def run(name: str, command: list, open_server: Server, keyed_server: Server) -> bool:
    """Runs one client's script; its output is shown if it fails."""
    started = time.monotonic()
    with Recorder(open_server.address) as recorder, Recorder(keyed_server.address) as keyed:
        addresses = {
            "LEXIVEC_URL": recorder.address,
            "LEXIVEC_DIRECT_URL": open_server.address,
            "LEXIVEC_KEYED_URL": keyed.address,
            "LEXIVEC_KEYED_DIRECT_URL": keyed_server.address,
            "LEXIVEC_KEY": KEY,
        }
        script = subprocess.run(command, env=environments.clean() | addresses, capture_output=True, text=True)
        broken = recorder.violations + keyed.violations
        requests = recorder.total + keyed.total
    passed = script.returncode == 0 and not broken
    seconds = time.monotonic() - started
    said = script.stdout.strip().splitlines()
    summary = said[-1] if passed and said else ""
    # schemathesis asks past the recorder, and counts for itself.
    asked = f"{requests:5d} requests" if requests else " " * 14
    print(f"{'pass' if passed else 'FAIL'}  {seconds:5.1f} s  {asked}  {name:30} {summary}", flush=True)
    if not passed:
        print("\n".join([script.stdout, script.stderr, *broken]).rstrip(), file=sys.stderr, flush=True)
    return passed


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", metavar="NAME", help="run the clients whose name holds NAME")
    parser.add_argument(
        "--fresh", action="store_true", help="make the environments again: the newest releases may have changed"
    )
    arguments = parser.parse_args()
    chosen = {name: client for name, client in CLIENTS.items() if (arguments.only or "") in name}
    if not chosen:
        parser.error(f"no client's name holds {arguments.only!r}; there are: {', '.join(CLIENTS)}")

    program = suite.program()
    interpreters = environments.ready({environment for _, environment in chosen.values()}, arguments.fresh)
    # More than the queue's default, for the largest requests of several clients may come at once.
    with Server(program, "--queue", "65536") as open_server, Server(
        # Its name holds a slash, as hub ids do; its queue is so small that several callers overload it.
        program, "--served-model-name", "demo/nano", "--queue", "16", "--api-key", KEY
    ) as keyed_server:  # fmt: skip

        def client(item: tuple) -> bool:
            name, (script, environment) = item
            return run(name, [interpreters[environment], HERE / script], open_server, keyed_server)

        with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
            passed = list(pool.map(client, chosen.items()))
    print(f"{sum(passed)} passed, {len(passed) - sum(passed)} failed")
    return 0 if all(passed) else 1


if __name__ == "__main__":
    suite.main(main)
