"""Runs schemathesis with the server's own document, /openapi.json, to check that the server obeys it.

With API keys, the server must reject requests without a valid key for every operation that requires one in the document.
"""

import json
import urllib.request

from contract import DIRECT_URL, KEY, KEYED_DIRECT_URL
from fuzz import fuzz, schemathesis

with urllib.request.urlopen(f"{DIRECT_URL}/openapi.json") as response:
    document = json.load(response)
summary = fuzz(document, 50, excluded_checks="positive_data_acceptance")

# In the document, keys are optional. The keyed server requires them, so the alternative without a key is removed.
for operation in (operation for methods in document["paths"].values() for operation in methods.values()):
    operation["security"] = [scheme for scheme in operation.get("security", []) if scheme]
header = f"Authorization: Bearer {KEY}"
behind_keys = schemathesis(document, 10, "--header", header, "--checks", "ignored_auth", url=KEYED_DIRECT_URL)
print(f"{summary}; with keys: {behind_keys}")
