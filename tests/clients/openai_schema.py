"""schemathesis over OpenAI's own schema of POST /v1/embeddings, openai-embeddings.yaml.

What it allows is answered with vectors or refused with a documented 4xx, in OpenAI's shape; so is what it forbids, of
which our own fields and nulls are accepted.
"""

from pathlib import Path

import yaml
from fuzz import fuzz

schema = Path(__file__).with_name("openai-embeddings.yaml").read_text()
print(fuzz(yaml.safe_load(schema), 300, excluded_checks="positive_data_acceptance,negative_data_rejection"))
