"""Tests Haystack's embedders for text-embeddings-inference with the routes of that server."""

import importlib.metadata

from contract import (
    KEY, KEYED_URL, MANY, TERMS, TOO_LONG, UNICODE, URL, cosine, recorded, reference, rejected, same, unit,
)  # fmt: skip
from haystack import Document
from haystack.utils import Secret
from haystack_integrations.components.embedders.huggingface_api import (
    HuggingFaceAPIDocumentEmbedder,
    HuggingFaceAPITextEmbedder,
)
from huggingface_hub.errors import BadRequestError, HfHubHTTPError


def settings(url: str = URL, key: str = "any", **more) -> dict:
    where = {"api_type": "text_embeddings_inference", "api_params": {"url": url}}
    return {**where, "token": Secret.from_token(key), **more}


def text(value: str, **more) -> list[float]:
    return HuggingFaceAPITextEmbedder(**settings(**more)).run(value)["embedding"]


def documents(texts: list[str], **more) -> list[list[float]]:
    embedder = HuggingFaceAPIDocumentEmbedder(**settings(**more), progress_bar=False)
    return [d.embedding for d in embedder.run([Document(content=t) for t in texts])["documents"]]


for url in (URL, f"{URL}/embed"):
    assert same([text(TERMS[0], url=url, normalize=True)], reference(TERMS[:1]))
    assert same(documents(TERMS, url=url, normalize=True), reference(TERMS))

# By default, Haystack requests vectors that are not normalised.
recorded()
raw = documents(TERMS)
assert recorded()[0]["fields"] == {"truncate": True, "normalize": False}
assert all(not unit(r) and cosine(r, vector) > 0.99999 for r, vector in zip(raw, reference(TERMS), strict=True))

assert same(documents(UNICODE, normalize=True), reference(UNICODE))
assert same(documents(MANY, batch_size=2048, normalize=True)[::500], reference(MANY[::500]))
assert same([text(TOO_LONG, normalize=True)], reference([TOO_LONG], truncate="end"))
assert same(
    documents(TERMS, normalize=True, prefix="Instruct: Find the disease\nQuery:"),
    reference(TERMS, instruction="Find the disease"),
)

with rejected(BadRequestError, words="maximum context length"):
    text(TOO_LONG, truncate=False)
with rejected(BadRequestError, words="empty"):
    text("")
assert text("a", url=KEYED_URL, key=KEY)
with rejected(HfHubHTTPError, words="API key is not known", url=KEYED_URL):
    text("a", url=KEYED_URL, key="wrong")
packages = ("haystack-ai", "huggingface-api-haystack")
print(", ".join(f"{name} {importlib.metadata.version(name)}" for name in packages))
