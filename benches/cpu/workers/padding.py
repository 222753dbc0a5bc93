"""How texts of different lengths are batched for systems that need rectangular batches.

sentence-transformers sorts texts by length and cuts them into batches of a fixed number of texts. Here a batch ends where padding
would exceed a quarter of its tokens, which pads less where lengths differ and makes one batch where they are equal.
"""

import numpy as np

from protocol import Embed, Texts, normalised

# Padding per token of a batch.
MOST_PADDING = 0.25
PAD = 0


def batches(texts: Texts) -> list[list[int]]:
    """Returns the positions of the texts of each batch."""
    order = sorted(range(len(texts)), key=lambda place: -len(texts[place]))
    found: list[list[int]] = []
    tokens = 0
    for place in order:
        if found:
            slots = len(texts[found[-1][0]]) * (len(found[-1]) + 1)
            if slots <= (1 + MOST_PADDING) * (tokens + len(texts[place])):
                found[-1].append(place)
                tokens += len(texts[place])
                continue
        found.append([place])
        tokens = len(texts[place])
    return found


def padded(texts: Texts) -> tuple[np.ndarray, np.ndarray]:
    """Returns ids with padding on the right, and their attention mask."""
    lengths = np.array([len(text) for text in texts])
    mask = np.arange(lengths.max()) < lengths[:, None]
    ids = np.full(mask.shape, PAD, np.int64)
    ids[mask] = np.concatenate([np.asarray(text) for text in texts])
    return ids, mask.astype(np.int64)


def in_batches(pooled: Embed) -> Embed:
    """Returns a function that embeds batch by batch with `pooled`, which returns vectors of any length."""

    def embed(texts: Texts) -> np.ndarray:
        places = batches(texts)
        vectors = np.concatenate([pooled([texts[place] for place in batch]) for batch in places])
        ordered = np.empty_like(vectors)
        ordered[np.concatenate(places)] = vectors
        return normalised(ordered)

    return embed
