"""schemathesis over the server's own document, /openapi.json: what it promises is what the server does."""

from contract import DIRECT_URL
from fuzz import fuzz

print(fuzz(f"{DIRECT_URL}/openapi.json", "--max-examples", "50"))
