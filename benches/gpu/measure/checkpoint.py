"""Writes the random checkpoint with tests/fixtures/random_checkpoint.py, one shard per core to save minutes."""

import json
import os
import shutil
import sys
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path

from .settings import KIT, Settings

sys.path.append(str(KIT / "tests" / "fixtures"))
import random_checkpoint  # noqa: E402

SHARD_BYTES = 400_000_000
LONGEST = 32_768
SEED = 0


def write_shard(tensors: list[random_checkpoint.Tensor], number: int, path: Path) -> None:
    """Writes one shard, whose weights depend only on its number."""
    random_checkpoint.write_shard(tensors, random_checkpoint.np.random.default_rng([SEED, number]), path)


def write_weights(shape: random_checkpoint.Shape, folder: Path) -> None:
    """Writes shards and their index."""
    shards = random_checkpoint.split_into_shards(list(random_checkpoint.tensors_of(shape)), SHARD_BYTES)
    names = [f"model-{number:05}-of-{len(shards):05}.safetensors" for number in range(1, len(shards) + 1)]
    with ProcessPoolExecutor(max_workers=min(len(shards), os.cpu_count() or 1)) as pool:
        written = [
            pool.submit(write_shard, shard, number, folder / name)
            for number, (shard, name) in enumerate(zip(shards, names))
        ]
        for one in written:
            one.result()
    weight_map = {tensor.name: name for shard, name in zip(shards, names) for tensor in shard}
    total = sum(tensor.size for shard in shards for tensor in shard)
    index = {"metadata": {"total_size": total}, "weight_map": weight_map}
    random_checkpoint.write_json(folder / "model.safetensors.index.json", index)


def accept_long_texts(folder: Path) -> None:
    """Raises the tokenizer's limit, because these are nano's files, and nano accepts 4,096 tokens."""
    for name, key in [("sentence_bert_config.json", "max_seq_length"), ("tokenizer_config.json", "model_max_length")]:
        content = json.loads((folder / name).read_text())
        content[key] = LONGEST
        random_checkpoint.write_json(folder / name, content)


def write(settings: Settings, target: Path) -> None:
    """Writes the checkpoint unless it exists. The folder appears complete or not at all."""
    if target.is_dir():
        return
    unfinished = target.with_suffix(".tmp")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    shape = replace(random_checkpoint.SHAPES["4B"], **settings.smaller)
    random_checkpoint.write_configuration(shape, unfinished)
    write_weights(shape, unfinished)
    accept_long_texts(unfinished)
    unfinished.rename(target)
