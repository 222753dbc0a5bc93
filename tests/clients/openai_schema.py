"""schemathesis over OpenAI's own schema of POST /v1/embeddings, openai-embeddings.yaml.

What that schema allows is answered with vectors or refused with a documented 4xx, in OpenAI's shape. So is what it does
not allow. What of it this server can do (a text that is not empty, ids of its vocabulary, its width), it does.
"""

import tempfile
from pathlib import Path

import yaml
from contract import MODEL, WIDTH
from fuzz import fuzz

SCHEMA = Path(__file__).with_name("openai-embeddings.yaml")
VOCABULARY = 16_381


def servable(schema: dict) -> dict:
    """The schema's part that this server promises to answer with vectors."""
    fields = schema["components"]["schemas"]["CreateEmbeddingRequest"]["properties"]
    text, texts, ids, lists = fields["input"]["oneOf"]
    for item in (text, texts["items"]):
        item["minLength"] = 1
    for item in (ids["items"], lists["items"]["items"]):
        item |= {"minimum": 0, "maximum": VOCABULARY - 1}
    fields["model"] = {"type": "string", "enum": [MODEL]}
    fields["dimensions"]["maximum"] = WIDTH
    return schema


# Whether it had to be accepted is the second run's question; own fields and nulls are accepted beyond OpenAI's schema.
anything = fuzz(
    str(SCHEMA), "--max-examples", "300", "--exclude-checks", "positive_data_acceptance,negative_data_rejection"
)
with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
    yaml.safe_dump(servable(yaml.safe_load(SCHEMA.read_text())), file)
    file.flush()
    possible = fuzz(file.name, "--max-examples", "300", "--mode", "positive")
print(f"all of it: {anything}; what can be served: {possible}")
