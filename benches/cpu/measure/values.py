"""Checks that systems compute the same vectors before they are measured."""

import math
import random

from .loads import FIRST_ID, LAST_ID
from .process import Process

# Lengths of the texts, which share batches.
LENGTHS = (2, 5, 9, 16, 33, 47, 64, 120, 128, 200)


def texts(end: int) -> list[list[int]]:
    """Returns the texts of the check."""
    rng = random.Random(0)
    return [[*rng.choices(range(FIRST_ID, LAST_ID), k=length - 1), end] for length in LENGTHS]


def vectors(process: Process, end: int) -> list[list[float]]:
    """Returns a system's vectors of the check's texts."""
    return process.ask(texts(end), vectors=True)["vectors"]


def least_cosine(ours: list[list[float]], theirs: list[list[float]]) -> float:
    """Returns the least cosine between vectors of the same texts. It is NaN if a vector has NaN."""
    cosines = [cosine(a, b) for a, b in zip(ours, theirs, strict=True)]
    return math.nan if any(map(math.isnan, cosines)) else min(cosines)


def cosine(a: list[float], b: list[float]) -> float:
    """Returns the cosine of two vectors."""

    def dot(x: list[float], y: list[float]) -> float:
        return sum(p * q for p, q in zip(x, y, strict=True))

    return dot(a, b) / math.sqrt(dot(a, a) * dot(b, b))
