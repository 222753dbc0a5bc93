"""Computes the values of lexivec-terms with scikit-learn and umap-learn: principal components, HDBSCAN clusters, adjusted Rand indices,
the trustworthiness of maps.

Inputs are rounded so that the file stays small; float32 and float64 read the same numbers up to float32's rounding. `LEXIVEC_PROGRAM`
embeds nano's terms if it is set. Otherwise their vectors are kept from the file as it is.

It needs umap-learn, and NumPy 2.3: from NumPy 2.4 on, scikit-learn 1.9.1 fails with `cluster_selection_epsilon` ("only 0-dimensional arrays can be
converted to Python scalars").
"""

import importlib.metadata
import itertools
import json
import os
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import umap
from sklearn.cluster import HDBSCAN
from sklearn.cluster._hdbscan._linkage import mst_from_mutual_reachability
from sklearn.cluster._hdbscan._reachability import mutual_reachability_graph
from sklearn.cluster._hdbscan._tree import tree_to_labels
from sklearn.cluster._hdbscan.hdbscan import _process_mst
from sklearn.datasets import make_blobs, make_moons
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE, trustworthiness
from sklearn.metrics import adjusted_rand_score, pairwise_distances

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
FILE = HERE / "terms.json"
LIBRARIES = ["numpy", "scipy", "scikit-learn", "umap-learn"]
# Neighbours for which the trustworthiness of a map is computed.
TRUSTED = (5, 15)


def rounded(rows: np.ndarray, digits: int = 4) -> np.ndarray:
    """The float32 numbers that a reader of the JSON file gets."""
    return np.round(rows, digits).astype(np.float32).astype(np.float64)


def numbers(rows: np.ndarray, digits: int) -> list:
    return np.round(rows, digits).tolist()


def pca(rows: np.ndarray, components: int) -> dict:
    full = PCA(svd_solver="full").fit(rows)
    kept = PCA(components, svd_solver="full").fit(rows)
    projected = kept.transform(rows)
    shares = np.cumsum(full.explained_variance_ratio_)
    return {
        "rows": numbers(rows, 4),
        "components": numbers(kept.components_, 9),
        "mean": numbers(kept.mean_, 9),
        "explained_variance": numbers(full.explained_variance_, 9),
        "explained_variance_ratio": numbers(full.explained_variance_ratio_, 9),
        "components_for": [
            [share, int(PCA(share, svd_solver="full").fit(rows).n_components_)]
            for share in (0.9, 0.95, 0.99)
            if shares[0] < 0.999
        ],
        "coordinates": numbers(projected, 9),
        "reduced": numbers(projected / np.linalg.norm(projected, axis=1, keepdims=True), 9),
    }


def without_ties(rows: np.ndarray, setting: dict) -> tuple[np.ndarray, np.ndarray]:
    """HDBSCAN by scikit-learn's own functions. Pairs of equal mutual reachability, of which there are many because rows share core
    distances, are sorted by their distance. scikit-learn sorts them by the order of rows, or not at all (`argsort` is not stable)."""
    distances = pairwise_distances(rows, metric=setting["metric"])
    samples = setting.get("min_samples", setting["min_cluster_size"])
    reachability = mutual_reachability_graph(distances.copy(), min_samples=samples)
    tree = _process_mst(mst_from_mutual_reachability(reachability + 1e-9 * distances))
    return tree_to_labels(
        tree,
        setting["min_cluster_size"],
        setting.get("cluster_selection_method", "eom"),
        setting.get("allow_single_cluster", False),
        setting.get("cluster_selection_epsilon", 0.0),
    )


def own_agreement(rows: np.ndarray, setting: dict, labels: np.ndarray) -> float:
    """The lowest adjusted Rand index of scikit-learn's labels and those of the same rows in another order, in 20 orders."""
    indices = []
    for seed in range(20):
        order = np.random.default_rng(seed).permutation(len(rows))
        found = HDBSCAN(copy=True, **setting).fit(rows[order]).labels_
        indices.append(adjusted_rand_score(labels[order], found))
    return min(indices)


def clusterings(name: str, rows: np.ndarray, digits: int, settings: list[dict]) -> dict:
    results = []
    for index, setting in enumerate(settings):
        labels, probabilities = without_ties(rows, setting)
        plain = HDBSCAN(copy=True, **setting).fit(rows).labels_
        agreement = adjusted_rand_score(labels, plain)
        print(f"{name} {setting}: {len(set(labels) - {-1})} clusters, {list(labels).count(-1)} noise, {agreement:.4f}")
        results.append({
            "settings": setting,
            "labels": labels.tolist(),
            # Some only, so that the file stays small.
            "probabilities": numbers(probabilities, 5) if index % 3 == 0 else None,
            "with_ties": None
            if agreement == 1
            else {"labels": plain.tolist(), "own_agreement": own_agreement(rows, setting, plain)},
        })
    return {"name": name, "rows": numbers(rows, digits), "results": results}


def settings(sizes: list[int], metrics: list[str], epsilon: float) -> list[dict]:
    """Combinations of settings, with and without each option."""
    every = []
    for size, metric, method in itertools.product(sizes, metrics, ("eom", "leaf")):
        base = {"min_cluster_size": size, "metric": metric, "cluster_selection_method": method}
        every += [base, {**base, "min_samples": 2}, {**base, "cluster_selection_epsilon": epsilon}]
    base = {"min_cluster_size": sizes[0], "metric": metrics[0]}
    every += [
        {**base, "min_samples": 1},
        {**base, "allow_single_cluster": True},
        {**base, "allow_single_cluster": True, "cluster_selection_epsilon": epsilon},
        {**base, "allow_single_cluster": True, "cluster_selection_epsilon": epsilon, "cluster_selection_method": "leaf"},
        {**base, "min_cluster_size": 100, "min_samples": 3, "allow_single_cluster": True},
    ]
    return every


def maps(name: str, rows: np.ndarray, metric: str) -> dict:
    """The trustworthiness of a map by principal components, and its mean over ten maps each by UMAP and t-SNE."""

    def trusted(places: list[np.ndarray]) -> list[float]:
        values = [[trustworthiness(rows, one, n_neighbors=count, metric=metric) for count in TRUSTED] for one in places]
        return numbers(np.mean(values, axis=0), 9)

    places = rounded(PCA(2, svd_solver="full").fit_transform(rows))
    found = {
        "name": name,
        "metric": metric,
        "neighbours": TRUSTED,
        "places": numbers(places, 4),
        "pca": trusted([places]),
        "umap": trusted([umap.UMAP(metric=metric, random_state=seed).fit_transform(rows) for seed in range(10)]),
        "tsne": trusted([TSNE(metric=metric, init="random", random_state=seed).fit_transform(rows) for seed in range(10)]),
    }
    print({name: value for name, value in found.items() if name != "places"})
    return found


def nano_terms() -> np.ndarray:
    """Vectors by nano of the terms of `lexivec compare`, 24 dimensions, not normalised again after rounding."""
    program = os.environ.get("LEXIVEC_PROGRAM")
    if program is None:
        known = json.loads(FILE.read_text())["clusterings"]
        return rounded(np.array(next(c["rows"] for c in known if c["name"] == "nano")))
    lines = (ROOT / "convert/evaluate/data/comparison.jsonl").read_text().splitlines()
    samples = [json.loads(line) for line in lines]
    terms = sorted({sample["text"] for sample in samples if sample["kind"] == "term"})
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, "terms.txt"), Path(folder, "terms.npy")
        source.write_text("\n".join(terms) + "\n")
        command = [program, "embed", str(ROOT / "models/nano"), str(source), "--dimensions", "24", "--output", str(target)]
        subprocess.run(command, check=True)
        return rounded(np.load(target))


def main() -> None:
    random = np.random.default_rng(17)
    latent = random.standard_normal((60, 3)) @ random.standard_normal((3, 7))
    offset = rounded(latent + 0.1 * random.standard_normal((60, 7)) + 50.0)
    wide = rounded(random.standard_normal((5, 9)))
    constant = rounded(random.standard_normal((40, 4)) * [3.0, 1.0, 0.2, 0.0] + [0.0, 0.0, 0.0, 2.5])

    blobs = rounded(make_blobs(220, centers=5, cluster_std=[0.4, 0.8, 1.2, 0.5, 2.0], random_state=3)[0])
    moons = rounded(make_moons(160, noise=0.08, random_state=4)[0])
    directions = random.standard_normal((6, 12))
    unit = np.concatenate([directions[i % 6] + 0.35 * random.standard_normal((1, 12)) for i in range(150)])
    unit = np.concatenate([unit, random.standard_normal((30, 12))])
    unit = rounded(unit / np.linalg.norm(unit, axis=1, keepdims=True))

    random_labels = [random.integers(-1, count, 80).tolist() for count in (1, 3, 6, 20)]
    nano = nano_terms()
    golden = {
        "generator": {name: importlib.metadata.version(name) for name in LIBRARIES},
        "pca": [pca(offset, 4), pca(wide, 4), pca(constant, 4)],
        "clusterings": [
            clusterings("blobs", blobs, 4, settings([5, 12], ["euclidean"], 0.8)),
            clusterings("moons", moons, 4, settings([5], ["euclidean", "cosine"], 0.15)),
            clusterings("unit", unit, 4, settings([4], ["cosine", "euclidean"], 0.12)),
            clusterings("nano", nano, 4, settings([3], ["cosine", "euclidean"], 0.3)),
        ],
        "adjusted_rand": [
            {"left": left, "right": right, "value": float(adjusted_rand_score(left, right))}
            for left, right in itertools.combinations_with_replacement(random_labels, 2)
        ],
        "maps": [maps("unit", unit, "cosine"), maps("nano", nano, "cosine")],
    }
    FILE.write_text(json.dumps(golden, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
