"""Step 2: a byte-level BPE tokenizer that cuts text as Qwen's does and appends <|endoftext|>.

Writes tokenizer.json.
"""

import random
from collections.abc import Iterable

from tokenizers import (
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)

from workspace import END_OF_TEXT, SPECIAL_TOKENS, VOCABULARY_SIZE, Workspace, argument_parser

QWEN_WORD = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def train_tokenizer(corpus: Iterable[str], vocabulary_size: int = VOCABULARY_SIZE) -> Tokenizer:
    """Trains the tokenizer; the special tokens take the last ids of the vocabulary."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(QWEN_WORD), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary_size - len(SPECIAL_TOKENS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(corpus, trainer)
    tokenizer.add_special_tokens(SPECIAL_TOKENS)
    append_end_of_text = processors.TemplateProcessing(
        single=f"$A {END_OF_TEXT}",
        pair=f"$A {END_OF_TEXT} $B {END_OF_TEXT}",
        special_tokens=[(END_OF_TEXT, tokenizer.token_to_id(END_OF_TEXT))],
    )
    tokenizer.post_processor = processors.Sequence(
        [processors.ByteLevel(trim_offsets=False), append_end_of_text]
    )
    return tokenizer


def main() -> None:
    """Trains on all targets and a sample of the pairs' texts."""
    parser = argument_parser(__doc__)
    parser.add_argument(
        "--sample", type=int, default=400_000, help="how many of the pairs' texts to train on"
    )
    parser.add_argument("--seed", type=int, default=1, help="seed of the sample")
    arguments = parser.parse_args()

    workspace = Workspace(arguments.work)
    pairs = workspace.read_pairs()
    rng = random.Random(arguments.seed)
    sample = rng.sample(pairs, min(arguments.sample, len(pairs)))
    tokenizer = train_tokenizer(workspace.read_targets() + [text for text, _ in sample])
    tokenizer.save(str(workspace.tokenizer_path))

    example = "Instruct: Represent the medical concept:\nQuery:心肌梗死 cardiac arrest"
    print(f"{tokenizer.get_vocab_size()} tokens; example: {tokenizer.encode(example).tokens}")


if __name__ == "__main__":
    main()
