"""Tests InferenceClient.feature_extraction of huggingface_hub with each of its parameters."""

import asyncio

import huggingface_hub
from contract import KEY, KEYED_URL, MANY, TERMS, TOO_LONG, UNICODE, URL, cosine, reference, rejected, same, unit
from huggingface_hub import AsyncInferenceClient, InferenceClient
from huggingface_hub.errors import BadRequestError, HfHubHTTPError

for url in (URL, f"{URL}/", f"{URL}/embed"):
    client = InferenceClient(base_url=url)
    assert same(client.feature_extraction(TERMS[0]), reference(TERMS[:1]))
    assert same(client.feature_extraction(TERMS), reference(TERMS))

embed = client.feature_extraction
assert same(asyncio.run(AsyncInferenceClient(base_url=URL).feature_extraction(TERMS)), reference(TERMS))
assert same(embed(UNICODE), reference(UNICODE))
assert same(embed(MANY)[::500], reference(MANY[::500]))
assert same(embed(TERMS, dimensions=64), reference(TERMS, dimensions=64))
assert same(embed(TERMS, prompt_name="query"), reference(TERMS, prompt_name="query"))
assert same(embed(TERMS, encoding_format="float"), reference(TERMS))
assert same(embed(TERMS, normalize=True, truncate=False), reference(TERMS))
for raw, vector in zip(embed(TERMS, normalize=False), reference(TERMS), strict=True):
    assert not unit(raw) and cosine(raw, vector) > 0.99999
for direction, end in (("right", "end"), ("left", "start")):
    truncated = embed(TOO_LONG + "!", truncate=True, truncation_direction=direction)
    assert same(truncated, reference([TOO_LONG + "!"], truncate=end))

# The client never retries. Its exceptions contain the server's message.
for words, fields in [
    ("maximum context length", {"text": TOO_LONG}),
    ("`dimensions`", {"text": "a", "dimensions": 257}),
    ("`prompt_name`", {"text": "a", "prompt_name": "nobody"}),
    ("`truncation_direction`", {"text": "a", "truncation_direction": "up"}),
    ("empty", {"text": ""}),
]:
    with rejected(BadRequestError, words=words):
        embed(**fields)
assert InferenceClient(base_url=KEYED_URL, api_key=KEY).feature_extraction("a").shape == (1, 256)
with rejected(HfHubHTTPError, words="API key is not known", url=KEYED_URL):
    InferenceClient(base_url=KEYED_URL, api_key="wrong").feature_extraction("a")
print(f"huggingface_hub {huggingface_hub.__version__}")
