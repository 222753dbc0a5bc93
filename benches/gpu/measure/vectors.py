"""Compares vectors."""

import numpy as np


def cosines(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Returns the cosine of each pair of rows, or 0 if a vector is zero or not finite."""
    a, b = a.astype(np.float64), b.astype(np.float64)
    lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    with np.errstate(all="ignore"):
        cosine = (a * b).sum(axis=1) / lengths
    return np.where(np.isfinite(cosine), cosine, 0.0)


def summary(a: np.ndarray, expected: np.ndarray) -> dict[str, float] | None:
    """Returns the least and mean cosine to the expected vectors, or None if all of these are NaN (missing)."""
    present = ~np.isnan(expected).all(axis=1)
    if not present.any():
        return None
    found = cosines(a[present], expected[present])
    return {"min": round(float(found.min()), 7), "mean": round(float(found.mean()), 7)}
