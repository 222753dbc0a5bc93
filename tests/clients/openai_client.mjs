// Tests openai-node: formats, order, lexivec's own fields, Unicode, models, errors, keys. contract.py is the Python version
// of the helpers.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";

// npm installed the packages in the interpreter's environment, not in this folder.
const environment = process.execPath.split("/lib/python3")[0];
const { default: OpenAI } = createRequire(join(environment, "node_modules/"))("openai");
const { version } = JSON.parse(readFileSync(join(environment, "node_modules/openai/package.json")));
const { LEXIVEC_URL: URL, LEXIVEC_DIRECT_URL: DIRECT, LEXIVEC_KEYED_URL: KEYED, LEXIVEC_KEY: KEY } = process.env;
const { unicode, terms, instruction } = JSON.parse(readFileSync(join(dirname(process.argv[1]), "texts.json")));
const [model, width, many] = ["nano", 256, Array.from({ length: 2048 }, (_, i) => `term number ${i}`)];
const tooLong = "cardiac arrest ".repeat(4096);

const client = new OpenAI({ baseURL: `${URL}/v1`, apiKey: "any" });
const norm = (vector) => Math.hypot(...vector);

async function embed(input, fields = {}) {
  const answer = await client.embeddings.create({ model, input, ...fields });
  answer.data.forEach((item, index) => assert.equal(item.index, index));
  assert.ok(answer.usage.prompt_tokens > 0 && answer.usage.total_tokens === answer.usage.prompt_tokens);
  return answer.data.map((item) => item.embedding);
}

// Returns vectors of one text at a time, as floats, without the client.
async function reference(texts, fields = {}) {
  const vectors = [];
  for (const input of texts) {
    const body = JSON.stringify({ model, input, ...fields });
    const asked = { method: "POST", headers: { "content-type": "application/json" }, body };
    vectors.push((await (await fetch(`${DIRECT}/v1/embeddings`, asked)).json()).data[0].embedding);
  }
  return vectors;
}

function same(got, expected) {
  assert.equal(got.length, expected.length);
  got.forEach((vector, i) => {
    assert.equal(vector.length, expected[i].length);
    vector.forEach((value, j) => assert.ok(Math.abs(value - expected[i][j]) < 1e-7, `vector ${i}, value ${j}`));
  });
}

const recorded = async (url = URL) => (await fetch(`${url}/recorder`)).json();

async function rejected(errorType, attributes, call, url = URL) {
  await recorded(url);
  await assert.rejects(call, (error) => {
    assert.ok(error instanceof errorType, `${error} is not a ${errorType.name}`);
    for (const [name, value] of Object.entries(attributes)) assert.equal(error[name], value, `${name} of ${error}`);
    assert.ok(error.requestID && error.error.message);
    return true;
  });
  assert.equal((await recorded(url)).length, 1, `the client retried after a permanent error: ${JSON.stringify(attributes)}`);
}

// Formats, dimensions, order. By default, the client requests base64 and decodes the answer.
const expected = await reference(terms);
await recorded();
same(await embed(terms), expected);
assert.equal((await recorded())[0].fields.encoding_format, "base64");
same(await embed(terms, { encoding_format: "float" }), expected);
const encoded = await embed(terms, { encoding_format: "base64" });
same(encoded.map((text) => [...new Float32Array(Uint8Array.from(Buffer.from(text, "base64")).buffer)]), expected);
for (const dimensions of [1, 64, width]) {
  const truncated = await embed(terms, { dimensions });
  truncated.forEach((vector) => assert.ok(vector.length === dimensions && Math.abs(norm(vector) - 1) < 1e-5));
  same(truncated, await reference(terms, { dimensions }));
}
const vectors = await embed(many);
same([0, 1, 1024, 2047].map((i) => vectors[i]), await reference([0, 1, 1024, 2047].map((i) => many[i])));

// lexivec's own fields are top-level fields of the body.
same(await embed(terms, { instruction }), await reference(terms.map((t) => `Instruct: ${instruction}\nQuery:${t}`)));
same(await embed(terms, { domain: "medical" }), await reference(terms, { domain: "medical" }));
(await embed(terms, { normalize: false })).forEach((vector) => assert.ok(Math.abs(norm(vector) - 1) > 1e-3));
await embed(tooLong, { truncate: "start" });

same(await embed(unicode), await reference(unicode));

assert.deepEqual((await client.models.list()).data.map(({ id }) => id), [model]);
const keyed = new OpenAI({ baseURL: `${KEYED}/v1`, apiKey: KEY });
assert.equal((await keyed.models.retrieve("demo/nano")).id, "demo/nano");

// Permanent errors raise the client's error class with the server's fields, after one request.
const invalid = { code: "invalid_value", type: "invalid_request_error", status: 400 };
for (const [fields, attributes] of [
  [{ input: "" }, { ...invalid, param: "input" }],
  [{ input: [] }, { ...invalid, param: "input" }],
  [{ input: Array(2049).fill("a") }, { ...invalid, param: "input" }],
  [{ input: tooLong }, { code: "context_length_exceeded", param: "input" }],
  [{ dimensions: width + 1 }, { ...invalid, param: "dimensions" }],
  [{ dimension: 3 }, { ...invalid, param: "dimension" }],
  [{ domain: "astrology" }, { ...invalid, param: "domain" }],
  // Half of a surrogate pair, as at the end of a truncated JavaScript string, is not valid text.
  [{ input: "😀".slice(0, 1) }, { status: 400, type: "invalid_request_error" }],
]) {
  await rejected(OpenAI.BadRequestError, attributes, () => client.embeddings.create({ model, input: "a", ...fields }));
}
const nobody = () => client.embeddings.create({ model: "nobody", input: "a" });
await rejected(OpenAI.NotFoundError, { param: "model", code: "model_not_found" }, nobody);
const stranger = new OpenAI({ baseURL: `${KEYED}/v1`, apiKey: "wrong" });
const ask = () => stranger.embeddings.create({ model: "demo/nano", input: "a" });
await rejected(OpenAI.AuthenticationError, { code: "invalid_api_key" }, ask, KEYED);
console.log(`openai ${version}, Node.js ${process.versions.node}`);
