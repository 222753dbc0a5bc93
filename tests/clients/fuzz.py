"""Runs schemathesis twice with an OpenAPI document: with valid and invalid requests, and with those that must succeed."""

import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from contract import DIRECT_URL, MODEL, WIDTH

# A fixed seed, so that all runs send the same requests. For others, run LEXIVEC_SEED=2 make test-clients.
SEED = os.environ.get("LEXIVEC_SEED", "1")
VOCABULARY = 16_381


def fuzz(document: dict, examples: int, excluded_checks: str) -> str:
    """Returns a summary of the requests. Ends this process with schemathesis' output if it finds a failure.

    The server may reject a valid request with a documented 4xx, because the document does not have the names and sizes of
    the served models. After these are filled in, a rejection is an error.
    """
    everything = schemathesis(document, examples, "--exclude-checks", excluded_checks)
    acceptable = schemathesis(servable(document), examples, "--mode", "positive", "--include-method", "POST")
    return f"all requests: {everything}; requests that must succeed: {acceptable}"


def schemathesis(document: dict, examples: int, *flags: str, url: str = DIRECT_URL) -> str:
    """Runs schemathesis against the server at `url`; returns the number of requests."""
    program = Path(sys.executable).with_name("schemathesis")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "openapi.json")
        path.write_text(json.dumps(document))
        command = [program, "run", path, "--url", url, "--seed", SEED, "--max-examples", str(examples)]
        command += ["--continue-on-failure", "--no-color", "--generation-database", "none", "--warnings", "off"]
        result = subprocess.run([*command, *flags], cwd=folder, capture_output=True, text=True)
    cases = re.search(r"(\d+ generated), \d+ passed", result.stdout)
    if result.returncode != 0 or cases is None:
        sys.exit(f"{result.stdout}{result.stderr}")
    return cases[1]


def servable(document: dict) -> dict:
    """Restricts a document to requests that this server must answer with 200."""
    document = json.loads(json.dumps(document))
    schemas = document["components"]["schemas"]
    for schema in (schema for name, schema in schemas.items() if name.endswith("Request")):
        fields = schema["properties"]
        # Removed, because they exclude each other and token ids, and their values are names that the document does not have.
        for name in ("instruction", "domain", "prompt_name", "projection"):
            fields.pop(name, None)
        if "model" in fields:
            fields["model"] = {"type": "string", "enum": [MODEL]}
        if "dimensions" in fields:
            fields["dimensions"]["maximum"] = WIDTH
        text = fields.get("input") or fields["inputs"]
        if "$ref" in text:
            text = schemas[text["$ref"].rpartition("/")[2]]
        for form in text["oneOf"]:
            bound(form)
    return document


def bound(form: dict) -> None:
    """Restricts a form of the input to texts that are not empty, and to ids of the vocabulary."""
    while form["type"] == "array":
        form = form["items"]
    form |= {"minLength": 1} if form["type"] == "string" else {"minimum": 0, "maximum": VOCABULARY - 1}
