"""Step 4: distils the teacher into the student.

The loss has three parts: cosine distance to the teacher's vector through a linear head, the
teacher's similarities within the batch at every Matryoshka dimension, and contrast between the
batch's targets. The head is not exported.

Training runs for a given time, and resumes from training_state.pt where there is one. The learning
rate falls with the time of this run.
"""

import math
import random
import time
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from tokenizers import Tokenizer
from torch import Tensor, nn

from student import Student, StudentConfig
from workspace import (
    END_OF_TEXT_ID,
    HELD_OUT_PAIRS,
    MATRYOSHKA_DIMENSIONS,
    Workspace,
    argument_parser,
)

# Longer texts keep their end, where the appended <|endoftext|> is.
MAXIMUM_TOKENS = 64
# Lengths that batches are padded to; few, so that a compiled model is compiled few times.
LENGTH_BUCKETS = (6, 8, 12, 16, 24, MAXIMUM_TOKENS)
ENCODE_AT_ONCE = 20_000
EVALUATE_AT_ONCE = 250

# Pairs are drawn for this many batches and sorted by length before they are cut into batches.
BATCHES_IN_POOL = 32
POOLS_BETWEEN_EVALUATIONS = 12
STEPS_BETWEEN_REPORTS = 50

WARMUP_STEPS = 200
LOWEST_LEARNING_RATE = 0.02  # as a share of the highest
SIMILARITY_WEIGHT = 4
CONTRAST_WEIGHT = 0.15
CONTRAST_TEMPERATURE = 0.05
GRADIENT_NORM = 1.0


class TrainingData:
    """Token ids and teacher vectors of the training pairs, by pair index."""

    def __init__(self, workspace: Workspace) -> None:
        pairs = workspace.read_pairs()
        self.target_indices = [target_indices for _, target_indices in pairs]
        self.teacher = torch.from_numpy(workspace.read_teacher())
        if not workspace.encodings_path.exists():
            encode_pairs(workspace, [text for text, _ in pairs])
        encodings = np.load(workspace.encodings_path)
        self.token_ids, self.offsets = encodings["token_ids"], encodings["offsets"]
        self.lengths = np.diff(self.offsets)

    def __len__(self) -> int:
        return len(self.target_indices)

    def inputs(self, rows: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Returns right-padded token ids and the position of each row's last token."""
        longest = max(self.lengths[row] for row in rows)
        width = next(bucket for bucket in LENGTH_BUCKETS if bucket >= longest)
        token_ids = np.full((len(rows), width), END_OF_TEXT_ID, np.int64)
        for i, row in enumerate(rows):
            token_ids[i, : self.lengths[row]] = self.token_ids[
                self.offsets[row] : self.offsets[row + 1]
            ]
        last_positions = torch.tensor([self.lengths[row] - 1 for row in rows])
        return torch.from_numpy(token_ids), last_positions

    def targets(self, rows: Sequence[int]) -> Tensor:
        """Returns the normalised means of the teacher's vectors."""
        means = [self.teacher[self.target_indices[row]].float().mean(0) for row in rows]
        return F.normalize(torch.stack(means), dim=-1)


def encode_pairs(workspace: Workspace, texts: list[str]) -> None:
    """Tokenises all texts and keeps the result."""
    tokenizer = Tokenizer.from_file(str(workspace.tokenizer_path))
    encoded = []
    for start in range(0, len(texts), ENCODE_AT_ONCE):
        for encoding in tokenizer.encode_batch(texts[start : start + ENCODE_AT_ONCE]):
            encoded.append(np.array(encoding.ids[-MAXIMUM_TOKENS:], np.int32))
    offsets = np.cumsum([0] + [len(ids) for ids in encoded])
    np.savez(workspace.encodings_path, token_ids=np.concatenate(encoded), offsets=offsets)


def upper_triangle(similarities: Tensor) -> np.ndarray:
    """Returns each pair's similarity once."""
    rows, columns = torch.triu_indices(*similarities.shape, 1)
    return similarities[rows, columns].numpy()


class Trainer:
    """The student, its head and its optimiser."""

    def __init__(self, data: TrainingData, learning_rate: float, compiled: bool) -> None:
        self.data = data
        self.learning_rate = learning_rate
        config = StudentConfig()
        self.student = Student(config)
        self.head = nn.Linear(config.hidden_size, data.teacher.shape[1], bias=False)
        # Shares the student's weights. Evaluation runs uncompiled: its other batch size would have
        # everything compiled anew.
        self.training_student = torch.compile(self.student) if compiled else self.student
        self.parameters = [*self.student.parameters(), *self.head.parameters()]
        self.optimizer = torch.optim.AdamW(
            self.parameters, lr=learning_rate, betas=(0.9, 0.98), weight_decay=0.01
        )
        self.step = 0

    def load(self, workspace: Workspace) -> None:
        """Resumes from the saved state, if there is one."""
        if workspace.training_state_path.exists():
            state = torch.load(workspace.training_state_path)
            self.student.load_state_dict(state["student"])
            self.head.load_state_dict(state["head"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.step = state["step"]

    def save(self, workspace: Workspace) -> None:
        """Saves the state."""
        state = {
            "student": self.student.state_dict(),
            "head": self.head.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
        }
        torch.save(state, workspace.training_state_path)

    def embed(self, rows: Sequence[int]) -> Tensor:
        """Runs the student on pairs' texts."""
        token_ids, last_positions = self.data.inputs(rows)
        student = self.training_student if self.student.training else self.student
        with torch.autocast("cpu", torch.bfloat16):
            states = student(token_ids, last_positions)
        return states.float()

    def loss(self, rows: Sequence[int]) -> Tensor:
        """Computes the loss of a batch."""
        embeddings, targets = self.embed(rows), self.data.targets(rows)
        loss = (1 - F.cosine_similarity(self.head(embeddings), targets)).mean()

        teacher_similarities = targets @ targets.T
        others = ~torch.eye(len(rows), dtype=torch.bool)
        for dimension in MATRYOSHKA_DIMENSIONS:
            cut = F.normalize(embeddings[:, :dimension], dim=-1)
            similarities = cut @ cut.T
            loss = loss + SIMILARITY_WEIGHT * F.mse_loss(
                similarities[others], teacher_similarities[others]
            )

        logits = F.normalize(self.head(embeddings), dim=-1) @ targets.T / CONTRAST_TEMPERATURE
        return loss + CONTRAST_WEIGHT * F.cross_entropy(logits, torch.arange(len(rows)))

    def rate_at(self, share_done: float) -> float:
        """Returns the learning rate: warm-up by steps, cosine decay by the share of the time."""
        warmup = min(1, (self.step + 1) / WARMUP_STEPS)
        decay = 0.5 * (1 + math.cos(math.pi * min(1, share_done)))
        return self.learning_rate * warmup * max(LOWEST_LEARNING_RATE, decay)

    def train_batch(self, rows: Sequence[int], share_done: float) -> tuple[float, float]:
        """Takes one step; returns its loss and learning rate."""
        rate = self.rate_at(share_done)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        loss = self.loss(rows)
        self.optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.parameters, GRADIENT_NORM)
        self.optimizer.step()
        self.step += 1
        return loss.item(), rate

    @torch.inference_mode()
    def evaluate(self) -> str:
        """Measures on the held-out pairs."""
        self.student.eval()
        chunks = [
            range(start, start + EVALUATE_AT_ONCE)
            for start in range(0, HELD_OUT_PAIRS, EVALUATE_AT_ONCE)
        ]
        embeddings = torch.cat([self.embed(rows) for rows in chunks])
        targets = torch.cat([self.data.targets(rows) for rows in chunks])
        cosine = F.cosine_similarity(self.head(embeddings), targets).mean().item()

        teacher_similarities = upper_triangle(targets @ targets.T)
        correlations = []
        for dimension in MATRYOSHKA_DIMENSIONS:
            cut = F.normalize(embeddings[:, :dimension], dim=-1)
            correlation = np.corrcoef(upper_triangle(cut @ cut.T), teacher_similarities)[0, 1]
            correlations.append(f"{correlation:.4f} at {dimension}")

        ranked = self.head(F.normalize(embeddings, dim=-1)) @ targets.T
        own_first = (ranked.argmax(1) == torch.arange(HELD_OUT_PAIRS)).float().mean().item()
        self.student.train()
        return (
            f"held out: cosine to the teacher {cosine:.4f}, own target first {own_first:.4f}, "
            f"correlation of similarities {', '.join(correlations)}"
        )


def draw_batches(data: TrainingData, batch_size: int) -> list[np.ndarray]:
    """Draws a pool of pairs and cuts it into batches of similar length, in random order."""
    pool = np.random.randint(HELD_OUT_PAIRS, len(data), batch_size * BATCHES_IN_POOL)
    pool = pool[np.argsort(data.lengths[pool])]
    batches = [pool[start : start + batch_size] for start in range(0, len(pool), batch_size)]
    random.shuffle(batches)
    return batches


def train(trainer: Trainer, workspace: Workspace, seconds: float, batch_size: int) -> None:
    """Trains until the time is up, saving after every pool."""
    started = time.monotonic()
    texts = 0
    while time.monotonic() - started < seconds:
        for rows in draw_batches(trainer.data, batch_size):
            share_done = (time.monotonic() - started) / seconds
            loss, rate = trainer.train_batch(rows, share_done)
            texts += len(rows)
            elapsed = time.monotonic() - started
            if trainer.step % STEPS_BETWEEN_REPORTS == 0:
                print(
                    f"{elapsed:.0f} s, step {trainer.step}, loss {loss:.4f}, "
                    f"learning rate {rate:.2e}, {texts / elapsed:.0f} texts/s",
                    flush=True,
                )
            if elapsed > seconds:
                break
        if trainer.step % (BATCHES_IN_POOL * POOLS_BETWEEN_EVALUATIONS) < BATCHES_IN_POOL:
            print(trainer.evaluate(), flush=True)
        trainer.save(workspace)


def main() -> None:
    """Trains or resumes, then measures."""
    parser = argument_parser(__doc__)
    parser.add_argument("--seconds", type=float, default=2_400, help="how long to train")
    parser.add_argument(
        "--compile", action="store_true", help="compile the model (needs a C++ compiler)"
    )
    parser.add_argument("--batch-size", type=int, default=384, help="pairs in a batch")
    parser.add_argument("--learning-rate", type=float, default=1e-3, help="highest learning rate")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads")
    parser.add_argument("--seed", type=int, default=0, help="seed of every random choice")
    arguments = parser.parse_args()

    torch.manual_seed(arguments.seed)
    random.seed(arguments.seed)
    np.random.seed(arguments.seed)
    torch.set_num_threads(arguments.threads)

    workspace = Workspace(arguments.work)
    data = TrainingData(workspace)
    trainer = Trainer(data, arguments.learning_rate, arguments.compile)
    trainer.load(workspace)
    parameters = sum(parameter.numel() for parameter in trainer.student.parameters())
    print(
        f"{parameters / 1e6:.1f} M parameters, "
        f"{len(data)} pairs of {data.lengths.mean():.1f} tokens on average",
        flush=True,
    )
    train(trainer, workspace, arguments.seconds, arguments.batch_size)
    print(trainer.evaluate())


if __name__ == "__main__":
    main()
