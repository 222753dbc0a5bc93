"""schemathesis twice over a document: all that it allows and forbids, and the part that has to be served."""

import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from contract import DIRECT_URL, MODEL, WIDTH

# The same requests every time, so that a failure is this change's. For others: LEXIVEC_SEED=2 make test-clients.
SEED = os.environ.get("LEXIVEC_SEED", "1")
VOCABULARY = 16_381


def fuzz(document: dict, examples: int, excluded_checks: str) -> str:
    """Says what was run; ends this process with what schemathesis said if it found something.

    What a document allows may be refused, with a documented 4xx: it cannot know the names and the sizes of the models
    that are served. With these filled in, a refusal is an error.
    """
    anything = schemathesis(document, examples, "--exclude-checks", excluded_checks)
    possible = schemathesis(servable(document), examples, "--mode", "positive", "--include-method", "POST")
    return f"all of it: {anything}; what has to be served: {possible}"


def schemathesis(document: dict, examples: int, *flags: str, url: str = DIRECT_URL) -> str:
    """How many requests were made of the server at `url`."""
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
    """The requests of a document that this server promises to answer with 200."""
    document = json.loads(json.dumps(document))
    schemas = document["components"]["schemas"]
    for schema in (schema for name, schema in schemas.items() if name.endswith("Request")):
        fields = schema["properties"]
        # They exclude each other and token ids, and are names that no document knows.
        for name in ("instruction", "domain", "prompt_name"):
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
    """Keeps a form of the input to texts that are not empty, and to ids of the vocabulary."""
    while form["type"] == "array":
        form = form["items"]
    form |= {"minLength": 1} if form["type"] == "string" else {"minimum": 0, "maximum": VOCABULARY - 1}
