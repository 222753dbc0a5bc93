"""Comparing vectors."""

import numpy as np


def cosines(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Cosine of each pair of rows; 0 where a vector is zero or not finite."""
    a, b = a.astype(np.float64), b.astype(np.float64)
    lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    with np.errstate(all="ignore"):
        cosine = (a * b).sum(axis=1) / lengths
    return np.where(np.isfinite(cosine), cosine, 0.0)


def summary(a: np.ndarray, expected: np.ndarray) -> dict[str, float] | None:
    """Least and mean cosine to the expected vectors; None where all of these are NaN, which stands for `not there`."""
    there = ~np.isnan(expected).all(axis=1)
    if not there.any():
        return None
    found = cosines(a[there], expected[there])
    return {"min": round(float(found.min()), 7), "mean": round(float(found.mean()), 7)}
