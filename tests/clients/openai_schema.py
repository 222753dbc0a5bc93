"""Runs schemathesis with OpenAI's schema of POST /v1/embeddings, openai-embeddings.yaml.

The server answers a valid request with vectors or a documented 4xx, in OpenAI's format. The same is true for invalid
requests, because lexivec accepts nulls and additional fields of its own.
"""

from pathlib import Path

import yaml
from fuzz import fuzz

schema = Path(__file__).with_name("openai-embeddings.yaml").read_text()
print(fuzz(yaml.safe_load(schema), 300, excluded_checks="positive_data_acceptance,negative_data_rejection"))
