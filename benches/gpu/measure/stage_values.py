"""Stage 2: checks that a 4B-sized model has the vectors of transformers, independent of the batch."""

import json
import random

import numpy as np

from . import children
from .models import LARGE_MODELS, Model
from .prepare import Preparation
from .program import Lexivec
from .results import Stage, Values
from .server import Server
from .settings import Settings
from .texts import token_ids, words
from .vectors import summary

NAME = "2-values"
# The id of <|endoftext|>, which nano's tokenizer appends.
END = 16_381


def inputs(settings: Settings) -> dict[str, list]:
    """Returns texts of the settings' lengths in words, and one sequence of the greatest length."""
    draw = random.Random(7)
    texts = [words(draw, length) for length in settings.lengths]
    longest = token_ids(1, settings.longest - 1, seed=7)[0] + [END]
    return {"texts": texts, "ids": [longest]}


def compare(settings: Settings, lexivec: Lexivec, preparation: Preparation, model: Model) -> Values:
    """Compares the vectors of single texts, of all texts in one request, and of transformers."""
    given = inputs(settings)
    directory = preparation.wait(model)
    with Server(lexivec, directory, settings) as server:
        connection = server.connect()
        alone = np.concatenate([connection.embed([text]) for text in given["texts"]])
        together = connection.embed(given["texts"])
        longest = connection.embed(given["ids"])
    values: Values = {
        "batch_invariance": summary(alone, together),
        "largest_difference": float(np.abs(alone - together).max()),
        "longest_is_finite": bool(np.isfinite(longest).all()),
    }
    for dtype in ("float32", "bfloat16"):
        file = settings.work / f"reference-{dtype}.npy"
        if file.exists():
            expected = np.load(file)
            values[f"to_transformers_{dtype}"] = summary(together, expected[:-1])
            values[f"longest_to_transformers_{dtype}"] = (summary(longest, expected[-1:]) or {}).get("min")
    return values


def run(settings: Settings, lexivec: Lexivec, preparation: Preparation, stage: Stage) -> None:
    """Runs all steps."""

    def reference(dtype: str) -> Values:
        children.require_modules("torch", "transformers")
        checkpoint = preparation.wait_for("checkpoint")
        file = settings.work / "inputs.json"
        file.write_text(json.dumps(inputs(settings)), encoding="utf-8")
        output = settings.work / f"reference-{dtype}.npy"
        where = ["--model", checkpoint, "--inputs", file, "--out", output]
        how = ["--dtype", dtype, "--device", settings.torch_device]
        return children.run_script("torch_reference.py", *where, *how, timeout=240)

    def spread() -> Values:
        files = [settings.work / f"reference-{dtype}.npy" for dtype in ("bfloat16", "float32")]
        children.require_files(*files)
        bfloat16, float32 = map(np.load, files)
        return {"transformers_bfloat16_to_float32": summary(bfloat16, float32)}

    stage.step("transformers float32", 120, lambda: reference("float32"))
    stage.step("transformers bfloat16", 90, lambda: reference("bfloat16"))
    stage.step("transformers against itself", 1, spread)
    for model in LARGE_MODELS:
        stage.step(model.name, 60, lambda: compare(settings, lexivec, preparation, model))
