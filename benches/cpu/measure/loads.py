"""The loads: requests of token ids, which are new in every request."""

import random
from collections.abc import Sequence
from dataclasses import dataclass

# Ids that both the released vocabulary and nano's contain, and that mean ordinary text.
FIRST_ID, LAST_ID = 300, 15_300
# Longer texts are measured with one system in memory at a time.
LONGEST_IN_TURNS = 2048


@dataclass(frozen=True)
class Load:
    """A request: the number of tokens of each text, and what the texts have in common."""

    name: str
    lengths: tuple[int, ...]
    # The first tokens of all texts, the same in every request, as an instruction is.
    shared: int = 0
    # How many different texts there are, if fewer than texts.
    distinct: int | None = None

    @property
    def tokens(self) -> int:
        """The number of tokens that a request asks for."""
        return sum(self.lengths)

    @property
    def repeats(self) -> bool:
        """Whether a system may compute fewer tokens than requested, because texts have tokens in common."""
        return self.shared > 0 or self.distinct is not None

    @property
    def is_long(self) -> bool:
        """Whether the load has texts for which the memory may hold one system only."""
        return max(self.lengths) > LONGEST_IN_TURNS

    def texts(self, seed: object, end: int) -> list[list[int]]:
        """Returns a request's texts. Each ends with the end-of-sequence token `end`."""
        rng = random.Random(f"{self.name} {seed}")
        instruction = random.Random(self.name).choices(range(FIRST_ID, LAST_ID), k=self.shared)

        def text(length: int) -> list[int]:
            own = rng.choices(range(FIRST_ID, LAST_ID), k=length - self.shared - 1)
            return [*instruction, *own, end]

        texts = [text(length) for length in self.lengths[: self.distinct]]
        texts = [texts[place % len(texts)] for place in range(len(self.lengths))]
        rng.shuffle(texts)
        return texts


def uniform(count: int, length: int) -> Load:
    """Returns a load of texts with the same length."""
    return Load(f"{count}x{length}", (length,) * count)


MIXED = Load("mixed", tuple(16 * n for n in range(1, 17)))
INSTRUCTED = Load("instructed", (44,) * 32, shared=40)
DUPLICATES = Load("duplicates", (32,) * 64, distinct=8)
DESCRIPTIONS = {
    "mixed": "16 texts of 16 to 256 tokens",
    "instructed": "32 terms of 4 tokens behind an instruction of 40, the same in every request",
    "duplicates": "64 texts of 32 tokens, of which 8 differ",
}
# Beside the loads of the table, 1x64, 1x2048 and 1 to 32 texts of 64 tokens draw the plots.
ALL: Sequence[Load] = (
    uniform(1, 16),
    uniform(32, 8),
    uniform(8, 64),
    uniform(1, 512),
    MIXED,
    INSTRUCTED,
    DUPLICATES,
    uniform(1, 64),
    uniform(1, 2048),
    uniform(2, 64),
    uniform(32, 64),
    uniform(1, 8192),
    uniform(1, 32_768),
)
DRY: Sequence[Load] = (uniform(1, 16), uniform(4, 16), Load("mixed", (16, 32, 64)), INSTRUCTED, DUPLICATES, uniform(1, 4096))


def chosen(names: str, dry: bool) -> list[Load]:
    """Returns the loads of a comma-separated list, which may have any `COUNTxLENGTH`; all if it is empty."""
    known = {load.name: load for load in (DRY if dry else ALL)}
    return [known.get(name) or parsed(name) for name in names.split(",")] if names else list(known.values())


def parsed(name: str) -> Load:
    """Returns the load `COUNTxLENGTH`."""
    count, times, length = name.partition("x")
    if not (times and count.isdecimal() and length.isdecimal() and int(count) and int(length)):
        raise SystemExit(f"unknown load {name}; the loads are COUNTxLENGTH such as 8x64, mixed, instructed and duplicates")
    return uniform(int(count), int(length))
