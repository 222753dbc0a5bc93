#!/usr/bin/env python3
"""Runs contract tests with real clients against a real server: `make test-clients`.

Creates the clients' environments once (environments.py), builds `lexivec`, and starts `lexivec serve models/nano` twice, the
second time with an API key and a small queue. Runs each client's script against both servers through its own recorders
(recorder.py). Prints one line per client, and exits with code 1 if one fails.

    run.py [--only NAME] [--fresh]

If LEXIVEC_PROGRAM is set, it names the program to test, and nothing is built.
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

# The script and the environment of each client.
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
    """Runs one client's script, and prints its output if it fails."""
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
    # schemathesis bypasses the recorder and counts its own requests.
    asked = f"{requests:5d} requests" if requests else " " * 14
    print(f"{'pass' if passed else 'FAIL'}  {seconds:5.1f} s  {asked}  {name:30} {summary}", flush=True)
    if not passed:
        print("\n".join([script.stdout, script.stderr, *broken]).rstrip(), file=sys.stderr, flush=True)
    return passed


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", metavar="NAME", help="run only clients whose names contain NAME")
    parser.add_argument(
        "--fresh", action="store_true", help="recreate the environments, to get the newest releases"
    )
    arguments = parser.parse_args()
    chosen = {name: client for name, client in CLIENTS.items() if (arguments.only or "") in name}
    if not chosen:
        parser.error(f"no client's name contains {arguments.only!r}; the clients are {', '.join(CLIENTS)}")

    program = suite.program()
    interpreters = environments.ready({environment for _, environment in chosen.values()}, arguments.fresh)
    # More texts in flight than by default, because several clients may send their largest requests at the same time.
    with Server(program, "--queue", "65536") as open_server, Server(
        # The name contains a slash, like ids of the hub. Several callers overload 16 texts in flight.
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
