"""Creates inputs: token ids without common prefixes, and texts of the published workload."""

import random
from collections.abc import Callable, Iterator

# The tokenizers of all Qwen3-Embedding models and of nano have these ids; none is a special token.
FIRST_ID, LAST_ID = 256, 16_000
# Passages per query in MS MARCO v1.1, and the template of the published benchmark
# (michaelfeil/radix-mlp, benchmark/simple_msmarco_embed.py): eight inputs in a row share template and query.
PASSAGES_PER_QUERY = 8
TEMPLATE = (
    "<|im_start|>system\nYou are a helpful assistant specialized in embedding text for retrieval tasks.<|im_end|>\n"
    "<|im_start|>user\n{query} embed the following sentences that is part of bing query dataset, with target to help "
    "find relevant web documents. {passage}<|im_end|>\n<|im_start|>assistant\n"
)
WORDS = (
    "the of and to in is for that are with as on by or from it an at be this your which can have has not will was more "
    "about also other one when most their used they may there between after water body blood time year people cost area "
    "state city average price common high low level number system heart pain symptoms treatment doctor disease cells "
    "energy food temperature degrees weather history county population located known company service program school "
    "college salary work home family land river mountain island north south east west capital government law court"
).split()


def token_ids(count: int, length: int, seed: int) -> list[list[int]]:
    """Returns sequences of random token ids. Their first ids differ as far as possible, so they share no prefix."""
    draw = random.Random(seed)
    span = LAST_ID - FIRST_ID
    start = draw.randrange(span)
    sequences = [draw.choices(range(FIRST_ID, LAST_ID), k=length) for _ in range(count)]
    for number, sequence in enumerate(sequences):
        sequence[0] = FIRST_ID + (start + number) % span
    return sequences


def words(draw: random.Random, count: int) -> str:
    """Returns `count` random words."""
    return " ".join(draw.choices(WORDS, k=count))


def workload(passage_words: int, seed: int) -> Iterator[str]:
    """Yields inputs of the published workload without end. Queries have six words."""
    draw = random.Random(seed)
    while True:
        query = words(draw, 6)
        for _ in range(PASSAGES_PER_QUERY):
            passage = words(draw, max(1, round(draw.gauss(passage_words, passage_words / 4))))
            yield TEMPLATE.format(query=query, passage=passage)


def fit(tokens_of: Callable[[str], int], wanted: int, sample: int = 32) -> tuple[int, float]:
    """Returns the words per passage for which inputs have about `wanted` tokens on average, and that average."""

    def average(passage_words: int) -> float:
        inputs = workload(passage_words, seed=1)
        return sum(tokens_of(next(inputs)) for _ in range(sample)) / sample

    short, long = average(10), average(60)
    per_word = (long - short) / 50
    count = max(1, round(10 + (wanted - short) / per_word))
    return count, average(count)
