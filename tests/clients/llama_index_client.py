"""Tests LlamaIndex: OpenAILikeEmbedding, and TextEmbeddingsInference with the routes of that server."""

import asyncio
import importlib.metadata

import openai
from contract import INSTRUCTION, KEY, KEYED_MODEL, KEYED_URL, MANY, MODEL, TERMS, TOO_LONG, UNICODE, URL
from contract import recorded, reference, rejected, same
from llama_index.embeddings.openai_like import OpenAILikeEmbedding
from llama_index.embeddings.text_embeddings_inference import TextEmbeddingsInference

# Both clients strip texts, and may replace newlines by spaces.
PLAIN_UNICODE = [text for text in UNICODE if text == text.strip() and "\n" not in text]


def openai_like(**settings) -> OpenAILikeEmbedding:
    defaults = {"model_name": MODEL, "api_base": f"{URL}/v1", "api_key": "any", "embed_batch_size": 2048}
    return OpenAILikeEmbedding(**defaults | settings)


def like_openai():
    embedding, expected = openai_like(), reference(TERMS)
    recorded()
    assert same(embedding.get_text_embedding_batch(TERMS), expected)
    assert recorded()[0]["fields"]["encoding_format"] == "base64"
    floats = openai_like(additional_kwargs={"encoding_format": "float"})
    assert same(floats.get_text_embedding_batch(TERMS), expected)
    assert same([embedding.get_query_embedding(TERMS[0])], expected[:1])
    assert same(asyncio.run(embedding.aget_text_embedding_batch(TERMS)), expected)
    assert same(openai_like(dimensions=64).get_text_embedding_batch(TERMS), reference(TERMS, dimensions=64))
    assert same(embedding.get_text_embedding_batch(PLAIN_UNICODE), reference(PLAIN_UNICODE))
    vectors = embedding.get_text_embedding_batch(MANY)
    assert same(vectors[::500], reference(MANY[::500])) and len(vectors) == len(MANY)
    instructed = openai_like(additional_kwargs={"extra_body": {"instruction": INSTRUCTION}})
    assert same(instructed.get_text_embedding_batch(TERMS), reference(TERMS, instruction=INSTRUCTION))
    # The client retries up to a hundred times if the status is retryable.
    with rejected(openai.BadRequestError, param="dimensions", code="invalid_value"):
        openai_like(dimensions=257).get_text_embedding("a")
    with rejected(openai.NotFoundError, param="model", code="model_not_found"):
        openai_like(model_name="nobody").get_text_embedding("a")
    with rejected(openai.AuthenticationError, url=KEYED_URL, code="invalid_api_key"):
        openai_like(model_name=KEYED_MODEL, api_base=f"{KEYED_URL}/v1", api_key="wrong").get_text_embedding("a")


def tei(**settings) -> TextEmbeddingsInference:
    return TextEmbeddingsInference(**{"model_name": MODEL, "base_url": URL, "embed_batch_size": 2048} | settings)


def text_embeddings_inference():
    embedding = tei()
    assert same(embedding.get_text_embedding_batch(TERMS), reference(TERMS))
    assert same([embedding.get_query_embedding(TERMS[0])], reference(TERMS[:1]))
    assert same(asyncio.run(embedding.aget_text_embedding_batch(TERMS)), reference(TERMS))
    assert same(embedding.get_text_embedding_batch(PLAIN_UNICODE), reference(PLAIN_UNICODE))
    assert same(embedding.get_text_embedding_batch(MANY)[::500], reference(MANY[::500]))
    # By default, the client requests truncation.
    assert same([embedding.get_text_embedding(TOO_LONG)], reference([TOO_LONG], truncate="end"))
    assert tei(base_url=KEYED_URL, auth_token=KEY).get_text_embedding("a")
    # The client ignores the status. It looks for vectors in the body, and an error's body has none.
    with rejected(KeyError):
        tei(truncate_text=False).get_text_embedding(TOO_LONG)
    with rejected(KeyError, url=KEYED_URL):
        tei(base_url=KEYED_URL, auth_token="wrong").get_text_embedding("a")


like_openai()
text_embeddings_inference()
packages = ("openai-like", "text-embeddings-inference")
print(", ".join(f"{name} {importlib.metadata.version(f'llama-index-embeddings-{name}')}" for name in packages))
