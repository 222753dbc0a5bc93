"""The folder in which the steps of the recipe hand on their results, and what the steps share."""

import argparse
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

VOCABULARY_SIZE = 16_384
END_OF_TEXT = "<|endoftext|>"
SPECIAL_TOKENS = [END_OF_TEXT, "<|im_start|>", "<|im_end|>"]
END_OF_TEXT_ID = VOCABULARY_SIZE - len(SPECIAL_TOKENS)

# Sizes that a vector may be cut to; the student learns to keep the teacher's similarities at each.
MATRYOSHKA_DIMENSIONS = (32, 64, 128, 256)

# The first pairs are never trained on; training and evaluation both measure on them.
HELD_OUT_PAIRS = 3_000


@dataclass(frozen=True)
class Workspace:
    """Names and reads the intermediate files, all of which lie in one folder."""

    root: Path

    @property
    def targets_path(self) -> Path:
        """Distinct texts that the teacher embeds."""
        return self.root / "targets.json"

    @property
    def pairs_path(self) -> Path:
        """Training pairs: a text and the indices of its targets."""
        return self.root / "pairs.json"

    @property
    def tokenizer_path(self) -> Path:
        """The tokenizer, as the checkpoint carries it."""
        return self.root / "tokenizer.json"

    @property
    def teacher_path(self) -> Path:
        """The teacher's vectors, one row for each target."""
        return self.root / "teacher.npy"

    @property
    def encodings_path(self) -> Path:
        """Token ids of every pair's text, kept so that training starts quickly a second time."""
        return self.root / "encodings.npz"

    @property
    def training_state_path(self) -> Path:
        """Weights and optimiser state, from which training resumes."""
        return self.root / "training_state.pt"

    def read_targets(self) -> list[str]:
        """Reads the target texts."""
        return json.loads(self.targets_path.read_text(encoding="utf-8"))

    def read_pairs(self) -> list[tuple[str, list[int]]]:
        """Reads the training pairs."""
        pairs = json.loads(self.pairs_path.read_text(encoding="utf-8"))
        return [(text, target_indices) for text, target_indices in pairs]

    def read_teacher(self) -> np.ndarray:
        """Reads the teacher's vectors."""
        return np.load(self.teacher_path)


def argument_parser(description: str) -> argparse.ArgumentParser:
    """Makes a step's argument parser, with the --work that every step has.

    The first paragraph of the description is shown.
    """
    parser = argparse.ArgumentParser(
        description=description.split("\n\n", maxsplit=1)[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument(
        "--work", type=Path, default=Path("work"), help="folder of the intermediate files"
    )
    return parser


def with_instruction(instruction: str | None, text: str) -> str:
    """Puts an instruction before a text, in Qwen3-Embedding's format."""
    return f"Instruct: {instruction}\nQuery:{text}" if instruction else text
