"""Tests openai-python: formats, order, lexivec's own fields, Unicode, models, errors, keys, overload."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

import openai
from contract import INSTRUCTION, KEY, KEYED_MODEL, KEYED_URL, MANY, MODEL, TERMS, TOO_LONG, UNICODE, URL, WIDTH
from contract import cosine, post, recorded, reference, rejected, same, unit

client = openai.OpenAI(base_url=f"{URL}/v1", api_key="any")


def embed(texts, **fields):
    answer = client.embeddings.create(model=MODEL, input=texts, **fields)
    assert [item.index for item in answer.data] == list(range(len(answer.data)))
    assert answer.usage.total_tokens == answer.usage.prompt_tokens > 0
    return [item.embedding for item in answer.data]


def formats_dimensions_and_order():
    expected = reference(TERMS)
    recorded()
    assert same(embed(TERMS), expected)
    assert recorded()[0]["fields"]["encoding_format"] == "base64"
    assert same(embed(TERMS, encoding_format="float"), expected)
    assert same(embed(TERMS[0], user="somebody"), expected[:1])
    for width in (1, 64, WIDTH):
        truncated = embed(TERMS, dimensions=width)
        assert all(len(vector) == width and unit(vector) for vector in truncated)
        assert same(truncated, reference(TERMS, dimensions=width))
    assert same(embed(UNICODE), reference(UNICODE))
    vectors = embed(MANY)
    assert len({tuple(vector) for vector in vectors}) == len(MANY)
    assert same([vectors[i] for i in (0, 1, 1024, 2047)], reference([MANY[i] for i in (0, 1, 1024, 2047)]))


def token_ids():
    ids = [[token["id"] for token in text] for text in post("/tokenize", {"inputs": TERMS})]
    assert same(embed(ids), reference(TERMS))
    assert same(embed(ids[0]), reference(TERMS[:1]))


def own_fields():
    plain, instructed = reference(TERMS), embed(TERMS, extra_body={"instruction": INSTRUCTION})
    assert same(instructed, reference([f"Instruct: {INSTRUCTION}\nQuery:{term}" for term in TERMS]))
    medical = embed(TERMS, extra_body={"domain": "medical"})
    assert same(medical, reference(TERMS, domain="medical")) and not same(medical, plain)
    assert not same(embed(TERMS, extra_body={"prompt_name": "query"}), plain)
    raw = embed(TERMS, extra_body={"normalize": False})
    assert all(not unit(vector) and cosine(vector, p) > 0.99999 for vector, p in zip(raw, plain, strict=True))
    start, end = (embed(TOO_LONG + "!", extra_body={"truncate": where})[0] for where in ("start", "end"))
    assert start != end


def models():
    assert [model.id for model in client.models.list().data] == [MODEL]
    assert client.models.retrieve(MODEL).id == MODEL
    keyed = openai.OpenAI(base_url=f"{KEYED_URL}/v1", api_key=KEY)
    assert keyed.models.retrieve(KEYED_MODEL).id == KEYED_MODEL
    with rejected(openai.NotFoundError, param="model", code="model_not_found"):
        client.models.retrieve("nobody/nothing")


def permanent_errors_are_not_retried():
    invalid = {"code": "invalid_value", "type": "invalid_request_error"}
    for fields, attributes in [
        ({"input": ""}, invalid | {"param": "input"}),
        ({"input": []}, invalid | {"param": "input"}),
        ({"input": ["a", ""]}, invalid | {"param": "input"}),
        ({"input": ["a"] * 2049}, invalid | {"param": "input"}),
        ({"input": [WIDTH * 1000]}, invalid | {"param": "input"}),
        ({"input": TOO_LONG}, {"code": "context_length_exceeded", "param": "input"}),
        ({"dimensions": 0}, invalid | {"param": "dimensions"}),
        ({"dimensions": WIDTH + 1}, invalid | {"param": "dimensions"}),
        ({"encoding_format": "int8"}, invalid | {"param": "encoding_format"}),
        ({"extra_body": {"dimension": 3}}, invalid | {"param": "dimension"}),
        ({"extra_body": {"domain": "astrology"}}, invalid | {"param": "domain"}),
        ({"extra_body": {"domain": "medical"}, "input": [1, 2]}, invalid | {"param": "domain"}),
    ]:
        with rejected(openai.BadRequestError, **attributes):
            client.embeddings.create(**{"model": MODEL, "input": "a", **fields})
    with rejected(openai.NotFoundError, param="model", code="model_not_found"):
        client.embeddings.create(model="nobody", input="a")
    with rejected(openai.BadRequestError, request_id="mine"):
        client.embeddings.create(model=MODEL, input="", extra_headers={"x-request-id": "mine"})


def keys():
    for key in ("wrong", KEY + "x", KEY[:-1]):
        stranger = openai.OpenAI(base_url=f"{KEYED_URL}/v1", api_key=key)
        with rejected(openai.AuthenticationError, code="invalid_api_key", url=KEYED_URL):
            stranger.embeddings.create(model=KEYED_MODEL, input="a")


def overload_is_retried():
    """Eight callers send eight texts each, and 16 may be in flight. Rejected callers retry, and all get their vectors."""
    keyed = openai.OpenAI(base_url=f"{KEYED_URL}/v1", api_key=KEY, max_retries=20)
    texts = [[f"{word} " * 500 + str(i) for i in range(8)] for word in "abcdefgh"]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda t: keyed.embeddings.create(model=KEYED_MODEL, input=t), texts))
    assert [len(answer.data) for answer in answers] == [8] * 8
    assert any(request["attempt"] > 0 for request in recorded(KEYED_URL)), "the server rejected no request"


async def concurrent_requests_get_their_own_vectors():
    async with openai.AsyncOpenAI(base_url=f"{URL}/v1", api_key="any") as client:
        answers = [client.embeddings.create(model=MODEL, input=text) for text in MANY[:32]]
        vectors = [answer.data[0].embedding for answer in await asyncio.gather(*answers)]
    assert same(vectors, reference(MANY[:32]))


formats_dimensions_and_order()
token_ids()
own_fields()
models()
permanent_errors_are_not_retried()
keys()
overload_is_retried()
asyncio.run(concurrent_requests_get_their_own_vectors())
print(f"openai {openai.__version__}")
