"""Step 3: the teacher's vector (all-MiniLM-L6-v2: mean pooling, L2, float16) of every target text.

Writes teacher.npy.
"""

import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from transformers import AutoModel, AutoTokenizer

from workspace import Workspace, argument_parser

MAXIMUM_TOKENS = 128
BATCHES_BETWEEN_REPORTS = 200


def teacher_folder(root: Path) -> Path:
    """Finds the folder of the teacher's checkpoint at or below a folder."""
    weights = next(root.glob("**/model.safetensors"), None)
    if weights is None:
        raise SystemExit(f"no model.safetensors at or below {root}")
    return weights.parent


@torch.inference_mode()
def embed(texts: list[str], checkpoint: Path, batch_size: int) -> np.ndarray:
    """Embeds the texts, shortest first so that little is spent on padding."""
    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    model = AutoModel.from_pretrained(checkpoint).to(torch.bfloat16).eval()
    vectors = np.zeros((len(texts), model.config.hidden_size), np.float16)
    by_length = np.argsort([len(text) for text in texts])
    started = time.monotonic()
    for start in range(0, len(texts), batch_size):
        rows = by_length[start : start + batch_size]
        encoded = tokenizer(
            [texts[row] for row in rows],
            padding=True,
            truncation=True,
            max_length=MAXIMUM_TOKENS,
            return_tensors="pt",
        )
        states = model(**encoded).last_hidden_state.float()
        mask = encoded["attention_mask"][..., None].float()
        means = (states * mask).sum(1) / mask.sum(1)
        vectors[rows] = F.normalize(means, dim=-1).numpy().astype(np.float16)
        if start % (batch_size * BATCHES_BETWEEN_REPORTS) == 0:
            print(f"{start} of {len(texts)}, {time.monotonic() - started:.0f} s", flush=True)
    return vectors


def main() -> None:
    """Embeds all targets."""
    parser = argument_parser(__doc__)
    parser.add_argument(
        "--teacher",
        type=Path,
        default=Path("teacher"),
        help="folder with the teacher's checkpoint in it",
    )
    parser.add_argument("--batch-size", type=int, default=256, help="texts in a batch")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads")
    arguments = parser.parse_args()

    torch.set_num_threads(arguments.threads)
    workspace = Workspace(arguments.work)
    checkpoint = teacher_folder(arguments.teacher)
    vectors = embed(workspace.read_targets(), checkpoint, arguments.batch_size)
    np.save(workspace.teacher_path, vectors)


if __name__ == "__main__":
    main()
