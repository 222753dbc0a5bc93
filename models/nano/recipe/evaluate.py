"""Step 6: measures a checkpoint as transformers runs it, once the recipe's student agrees with it.

The measure on held-out texts needs the workspace that the checkpoint was trained in, and is left
out without it.
"""

import json
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from tokenizers import Tokenizer
from torch import Tensor
from transformers import Qwen3Model

from student import Student, StudentConfig
from workspace import (
    HELD_OUT_PAIRS,
    MATRYOSHKA_DIMENSIONS,
    Workspace,
    argument_parser,
    with_instruction,
)

MEDICAL_TERMS = ["cardiac arrest", "myocardial infarction", "arrhythmia", "common cold"]
MEDICAL_INSTRUCTION = "Represent the medical condition:"
# Pairs of a Chinese and an English term.
TERM_PAIRS = Path(__file__).with_name("term_pairs.json")
AGREEMENT = 1e-5


class Checkpoint:
    """A checkpoint in float32."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.model = Qwen3Model.from_pretrained(folder, dtype=torch.float32).eval()

    def token_ids(self, text: str) -> Tensor:
        """Tokenises one text, [1, length]."""
        return torch.tensor([self.tokenizer.encode(text).ids])

    @torch.inference_mode()
    def embed(self, texts: list[str], instruction: str | None = None) -> Tensor:
        """Embeds the texts one by one and normalises the vectors."""
        prompts = [with_instruction(instruction, text) for text in texts]
        last_states = [
            self.model(input_ids=self.token_ids(prompt)).last_hidden_state[0, -1]
            for prompt in prompts
        ]
        return F.normalize(torch.stack(last_states), dim=-1)


@torch.inference_mode()
def check_student(checkpoint: Checkpoint, texts: list[str]) -> float:
    """Compares the recipe's own decoder with transformers; returns the largest difference."""
    student = Student(StudentConfig()).eval()
    weights = load_file(checkpoint.folder / "model.safetensors")
    student.load_state_dict({name: tensor.float() for name, tensor in weights.items()})
    states = []
    for text in texts:
        token_ids = checkpoint.token_ids(text)
        states.append(student(token_ids, torch.tensor([token_ids.shape[1] - 1]))[0])
    embeddings = F.normalize(torch.stack(states), dim=-1)
    difference = (embeddings - checkpoint.embed(texts)).abs().max().item()
    if difference > AGREEMENT:
        raise SystemExit(f"the student differs from transformers by {difference:.1e}")
    return difference


def measure_medical_terms(checkpoint: Checkpoint) -> None:
    """Prints the first medical term's similarity to the others, with and without instruction."""
    for instruction in (MEDICAL_INSTRUCTION, None):
        embeddings = checkpoint.embed(MEDICAL_TERMS, instruction)
        similarities = (embeddings[0] @ embeddings[1:].T).tolist()
        described = ", ".join(
            f"{term} {similarity:.3f}" for term, similarity in zip(MEDICAL_TERMS[1:], similarities)
        )
        print(f"{MEDICAL_TERMS[0]} ({instruction or 'no instruction'}): {described}")


def measure_translation(checkpoint: Checkpoint) -> None:
    """Prints how many Chinese terms have their English term first among all."""
    chinese, english = (
        list(terms) for terms in zip(*json.loads(TERM_PAIRS.read_text(encoding="utf-8")))
    )
    nearest = (checkpoint.embed(chinese) @ checkpoint.embed(english).T).argmax(1).tolist()
    missed = [
        f"{term} -> {english[first]}"
        for own, (term, first) in enumerate(zip(chinese, nearest))
        if own != first
    ]
    print(
        f"Chinese to English: {len(chinese) - len(missed)} of {len(chinese)} first; "
        f"missed: {missed}"
    )


def measure_held_out(checkpoint: Checkpoint, workspace: Workspace) -> None:
    """Prints the correlation with the teacher's similarities on the held-out texts."""
    pairs = workspace.read_pairs()[:HELD_OUT_PAIRS]
    teacher = torch.from_numpy(workspace.read_teacher())
    means = [teacher[target_indices].float().mean(0) for _, target_indices in pairs]
    targets = F.normalize(torch.stack(means), dim=-1)
    embeddings = checkpoint.embed([text for text, _ in pairs])
    rows, columns = torch.triu_indices(len(pairs), len(pairs), 1)
    teacher_similarities = (targets @ targets.T)[rows, columns].numpy()
    for dimension in MATRYOSHKA_DIMENSIONS:
        cut = F.normalize(embeddings[:, :dimension], dim=-1)
        similarities = (cut @ cut.T)[rows, columns].numpy()
        correlation = np.corrcoef(similarities, teacher_similarities)[0, 1]
        print(
            f"held-out texts at {dimension} dimensions: "
            f"correlation with the teacher {correlation:.4f}"
        )


def main() -> None:
    """Checks and measures."""
    parser = argument_parser(__doc__)
    parser.add_argument("checkpoint", type=Path, help="folder of the checkpoint")
    arguments = parser.parse_args()

    checkpoint = Checkpoint(arguments.checkpoint)
    texts = MEDICAL_TERMS + [
        "心肌梗死",
        with_instruction(MEDICAL_INSTRUCTION, "a sudden loss of heart function"),
    ]
    print(f"student and transformers agree within {check_student(checkpoint, texts):.1e}")
    measure_medical_terms(checkpoint)
    measure_translation(checkpoint)
    workspace = Workspace(arguments.work)
    if workspace.pairs_path.exists() and workspace.teacher_path.exists():
        measure_held_out(checkpoint, workspace)


if __name__ == "__main__":
    main()
