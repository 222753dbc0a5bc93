"""schemathesis over the server's own document, /openapi.json: what it promises is what the server does.

And with a key: every operation that the document puts behind keys refuses whoever has none or another.
"""

import json
import urllib.request

from contract import DIRECT_URL, KEY, KEYED_DIRECT_URL
from fuzz import fuzz, schemathesis

with urllib.request.urlopen(f"{DIRECT_URL}/openapi.json") as response:
    document = json.load(response)
summary = fuzz(document, 50, excluded_checks="positive_data_acceptance")

# The document leaves open whether this server has keys. The other one does.
for operation in (operation for methods in document["paths"].values() for operation in methods.values()):
    operation["security"] = [scheme for scheme in operation.get("security", []) if scheme]
header = f"Authorization: Bearer {KEY}"
behind_keys = schemathesis(document, 10, "--header", header, "--checks", "ignored_auth", url=KEYED_DIRECT_URL)
print(f"{summary}; with keys: {behind_keys}")
