// Tests featureExtraction of @huggingface/inference, and the messages of its errors.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";

// npm installed the packages in the interpreter's environment, not in this folder.
const environment = process.execPath.split("/lib/python3")[0];
const { InferenceClient } = createRequire(join(environment, "node_modules/"))("@huggingface/inference");
const { version } = JSON.parse(readFileSync(join(environment, "node_modules/@huggingface/inference/package.json")));
const { LEXIVEC_URL: URL, LEXIVEC_DIRECT_URL: DIRECT, LEXIVEC_KEYED_URL: KEYED, LEXIVEC_KEY: KEY } = process.env;
const { terms } = JSON.parse(readFileSync(join(dirname(process.argv[1]), "texts.json")));
const tooLong = "cardiac arrest ".repeat(4096);

// Returns vectors of one text at a time, without the client.
async function reference(texts) {
  const vectors = [];
  for (const input of texts) {
    const body = JSON.stringify({ model: "nano", input });
    const asked = { method: "POST", headers: { "content-type": "application/json" }, body };
    vectors.push((await (await fetch(`${DIRECT}/v1/embeddings`, asked)).json()).data[0].embedding);
  }
  return vectors;
}

function same(got, expected) {
  assert.equal(got.length, expected.length);
  got.forEach((vector, i) => vector.forEach((x, j) => assert.ok(Math.abs(x - expected[i][j]) < 1e-7)));
}

const expected = await reference(terms);
for (const address of [URL, `${URL}/embed`]) {
  const client = new InferenceClient("any", { endpointUrl: address });
  same(await client.featureExtraction({ inputs: terms }), expected);
  // The client sends null for options that a caller sets to null.
  same(await client.featureExtraction({ inputs: terms, prompt_name: null, parameters: null }), expected);

  for (const [fields, words] of [
    [{ inputs: tooLong }, "`inputs`: this model's maximum context length"],
    [{ inputs: ["a", ""] }, "inputs[1]: the text is empty"],
    [{ inputs: "a", dimensions: 257 }, "`dimensions`"],
    [{ inputs: "a", prompt_name: "nobody" }, "`prompt_name`"],
    // Half of a surrogate pair, as at the end of a truncated JavaScript string.
    [{ inputs: ["a", "😀".slice(0, 1)] }, "`inputs[1]`: the escape \\ud83d"],
  ]) {
    await assert.rejects(client.featureExtraction(fields), (error) => {
      const shown = `${error.message} ${error.cause ?? ""}`;
      assert.ok(shown.includes(words), shown);
      return true;
    });
  }
}
const keyed = new InferenceClient(KEY, { endpointUrl: KEYED });
assert.equal((await keyed.featureExtraction({ inputs: "a" })).flat().length, 256);
const stranger = new InferenceClient("wrong", { endpointUrl: KEYED });
await assert.rejects(stranger.featureExtraction({ inputs: "a" }), /API key is not known/);
console.log(`@huggingface/inference ${version}, Node.js ${process.versions.node}`);
