"""Tests LangChain: OpenAIEmbeddings with texts and with its default (tiktoken's ids), and HuggingFaceEndpointEmbeddings."""

import asyncio
import importlib.metadata
import os
from pathlib import Path

import llama_index.core
import openai
from contract import INSTRUCTION, KEY, KEYED_MODEL, KEYED_URL, MANY, MODEL, TERMS, TOO_LONG, UNICODE, URL
from contract import cosine, recorded, reference, rejected, same, unit
from huggingface_hub import InferenceClient
from huggingface_hub.errors import BadRequestError, HfHubHTTPError
from langchain_huggingface import HuggingFaceEndpointEmbeddings
from langchain_openai import OpenAIEmbeddings

# tiktoken would download its vocabularies. LlamaIndex contains them.
os.environ["TIKTOKEN_CACHE_DIR"] = str(Path(llama_index.core.__file__).parent / "_static" / "tiktoken_cache")


def openai_embeddings(**settings) -> OpenAIEmbeddings:
    defaults = {"model": MODEL, "base_url": f"{URL}/v1", "api_key": "any", "check_embedding_ctx_length": False}
    return OpenAIEmbeddings(**defaults | settings)


def endpoint_embeddings(url: str = URL, key: str = "any", **model_kwargs) -> HuggingFaceEndpointEmbeddings:
    """Creates embeddings with a client for `url`, because recent LangChain versions reject a URL as `model`."""
    embeddings = HuggingFaceEndpointEmbeddings(model=MODEL, model_kwargs=model_kwargs, huggingfacehub_api_token=key)
    embeddings.client = InferenceClient(base_url=url, api_key=key)
    return embeddings


def texts_as_texts():
    embeddings, expected = openai_embeddings(), reference(TERMS)
    recorded()
    assert same(embeddings.embed_documents(TERMS), expected)
    assert recorded()[0]["fields"]["encoding_format"] == "base64"
    assert same(openai_embeddings(model_kwargs={"encoding_format": "float"}).embed_documents(TERMS), expected)
    assert same([embeddings.embed_query(TERMS[0])], expected[:1])
    assert same(asyncio.run(embeddings.aembed_documents(TERMS)), expected)
    assert same(openai_embeddings(dimensions=64).embed_documents(TERMS), reference(TERMS, dimensions=64))
    assert same(embeddings.embed_documents(UNICODE), reference(UNICODE))
    vectors = embeddings.embed_documents(MANY, chunk_size=2048)
    assert same(vectors[::500], reference(MANY[::500])) and len(vectors) == len(MANY)
    instructed = openai_embeddings(model_kwargs={"extra_body": {"instruction": INSTRUCTION}})
    assert same(instructed.embed_documents(TERMS), reference(TERMS, instruction=INSTRUCTION))


def errors():
    with rejected(openai.BadRequestError, param="dimensions", code="invalid_value"):
        openai_embeddings(dimensions=257).embed_query("a")
    with rejected(openai.BadRequestError, param="input", code="context_length_exceeded"):
        openai_embeddings().embed_query(TOO_LONG)
    with rejected(openai.NotFoundError, param="model", code="model_not_found"):
        openai_embeddings(model="nobody").embed_query("a")
    with rejected(openai.AuthenticationError, url=KEYED_URL, code="invalid_api_key"):
        openai_embeddings(model=KEYED_MODEL, base_url=f"{KEYED_URL}/v1", api_key="wrong").embed_query("a")


def tiktokens_ids():
    """By default, LangChain sends ids of OpenAI's vocabulary. If the model lacks an id, the error names the setting.

    If the model has all ids, no server can detect the mistake: the ids are other words here, so the vector is another one.
    Qwen3's vocabulary has all of OpenAI's ids, so these models always need the setting.
    """
    default = openai_embeddings(check_embedding_ctx_length=True)
    with rejected(openai.BadRequestError, words="check_embedding_ctx_length=False", param="input"):
        default.embed_documents(TERMS)
    vector = default.embed_query("the")
    assert unit(vector) and cosine(vector, reference(["the"])[0]) < 0.9


def endpoint():
    for url in (URL, f"{URL}/embed"):
        embeddings = endpoint_embeddings(url)
        assert same(embeddings.embed_documents(TERMS), reference(TERMS))
        assert same([embeddings.embed_query(TERMS[0])], reference(TERMS[:1]))
    assert same(endpoint_embeddings().embed_documents(MANY)[::500], reference(MANY[::500]))
    queries = endpoint_embeddings(prompt_name="query")
    assert same(queries.embed_documents(TERMS), reference(TERMS, prompt_name="query"))
    assert same(endpoint_embeddings(truncate=True).embed_documents([TOO_LONG]), reference([TOO_LONG], truncate="end"))
    with rejected(BadRequestError, words="maximum context length"):
        endpoint_embeddings().embed_query(TOO_LONG)
    assert endpoint_embeddings(KEYED_URL, KEY).embed_query("a")
    with rejected(HfHubHTTPError, words="API key is not known", url=KEYED_URL):
        endpoint_embeddings(KEYED_URL, "wrong").embed_query("a")


for check in (texts_as_texts, errors, tiktokens_ids, endpoint):
    check()
versions = (f"{name} {importlib.metadata.version(name)}" for name in ("langchain-openai", "langchain-huggingface"))
print(", ".join(versions))
