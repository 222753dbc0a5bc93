"""Computes the measures of `lexivec compare` with NumPy, SciPy, scikit-learn and trec_eval (through pytrec_eval)."""

import importlib.metadata
import json
from pathlib import Path

import numpy as np
import pytrec_eval
from scipy import stats
from sklearn.metrics import ndcg_score
from sklearn.metrics.pairwise import cosine_similarity
from sklearn.neighbors import NearestNeighbors

HERE = Path(__file__).parent
LIBRARIES = ["numpy", "scipy", "scikit-learn", "pytrec_eval-terrier"]
QUANTILES = [0.0, 0.01, 0.25, 0.5, 0.95, 1.0]


def statistics(x: list[float], y: list[float]) -> dict:
    constant = len(set(x)) == 1 or len(set(y)) == 1
    return {
        "x": x,
        "y": y,
        "ranks": stats.rankdata(x).tolist(),
        "pearson": None if constant else float(stats.pearsonr(x, y).statistic),
        "spearman": None if constant else float(stats.spearmanr(x, y).statistic),
        "quantiles": [[q, float(np.quantile(x, q))] for q in QUANTILES],
    }


def trec(gains: dict[str, dict[str, int]], scores: dict[str, dict[str, float]], measures: set[str]) -> dict:
    return pytrec_eval.RelevanceEvaluator(gains, measures).evaluate(scores)


def ranking(gains: list[int]) -> dict:
    """Measures of documents in the order in which a system ranked them. The scores only define this order."""
    scores = [1.0 - place / 1000 for place in range(len(gains))]
    documents = [f"d{place}" for place in range(len(gains))]
    measures = {"ndcg_cut_1,3,10", "recall_1,3,10", "recip_rank"}
    found = trec({"q": dict(zip(documents, gains))}, {"q": dict(zip(documents, scores))}, measures)["q"]
    ndcg = [[k, float(ndcg_score([gains], [scores], k=k, ignore_ties=True))] for k in (1, 3, 10)]
    for k, value in ndcg:
        # Both libraries use the gain itself, not 2^gain - 1.
        assert abs(value - found[f"ndcg_cut_{k}"]) < 1e-6
    return {
        "found": gains,
        "ndcg": ndcg,
        "recall": [[k, found[f"recall_{k}"]] for k in (1, 3, 10)],
        "reciprocal_rank": found["recip_rank"],
    }


def embeddings(random: np.random.Generator) -> dict:
    """Two systems' vectors of the same texts, and their similarity at two widths."""
    baseline = random.standard_normal((40, 16)).astype(np.float32)
    candidate = (baseline + 0.4 * random.standard_normal((40, 16))).astype(np.float32)
    widths = []
    for width in (16, 5):
        systems = [vectors[:, :width].astype(np.float64) for vectors in (baseline, candidate)]
        similarities = [cosine_similarity(vectors) for vectors in systems]
        upper = np.triu_indices(len(baseline), 1)
        overlaps = []
        for k in (1, 10):
            search = [NearestNeighbors(n_neighbors=k, metric="cosine").fit(vectors) for vectors in systems]
            lists = [neighbours.kneighbors()[1] for neighbours in search]
            overlaps.append([k, float(np.mean([len(set(a) & set(b)) / k for a, b in zip(*lists)]))])
        cosines = np.diag(cosine_similarity(*systems))
        widths.append({
            "width": width,
            "cosines": cosines.tolist(),
            "p1": float(np.quantile(cosines, 0.01)),
            "overlaps": overlaps,
            "spearman": float(stats.spearmanr(*(s[upper] for s in similarities)).statistic),
        })
    return {"baseline": baseline.tolist(), "candidate": candidate.tolist(), "widths": widths}


def retrieval(random: np.random.Generator) -> dict:
    """Measures of a small search with graded judgements, some of which are 0."""
    documents = random.standard_normal((150, 12)).astype(np.float32)
    queries = random.standard_normal((8, 12)).astype(np.float32)
    similarities = cosine_similarity(queries.astype(np.float64), documents.astype(np.float64))
    judgements, gains, scores = [], {}, {}
    for query, row in enumerate(similarities):
        # Closer documents are more likely to be relevant.
        chance = np.exp(4 * row)
        chosen = random.choice(len(row), size=6, replace=False, p=chance / chance.sum())
        judged = {int(document): int(random.integers(0, 4)) for document in chosen}
        judged[int(chosen[0])] = 2
        judgements.append(sorted(judged.items()))
        gains[f"q{query}"] = {f"d{document}": gain for document, gain in judged.items()}
        scores[f"q{query}"] = {f"d{document}": float(score) for document, score in enumerate(row)}
    found = trec(gains, scores, {"ndcg_cut_10", "recall_10,100"})
    mrr = trec(gains, {q: dict(sorted(s.items(), key=lambda d: -d[1])[:10]) for q, s in scores.items()}, {"recip_rank"})
    mean = lambda of, measure: float(np.mean([values[measure] for values in of.values()]))
    return {
        "queries": queries.tolist(),
        "documents": documents.tolist(),
        "judgements": judgements,
        "ndcg_at_10": mean(found, "ndcg_cut_10"),
        "recall_at_10": mean(found, "recall_10"),
        "recall_at_100": mean(found, "recall_100"),
        "mrr_at_10": mean(mrr, "recip_rank"),
    }


def main() -> None:
    random = np.random.default_rng(20)
    pairs = [
        ([1.0, 2.0, 3.0, 4.0], [1.0, 3.0, 2.0, 4.0]),
        ([1.0, 1.0, 2.0, 2.0, 3.0], [5.0, 4.0, 4.0, 4.0, 1.0]),
        ([0.5, 0.5, 0.5], [1.0, 2.0, 3.0]),
        ([3.0, -1.0], [2.0, 9.0]),
        (random.standard_normal(101).tolist(), random.standard_normal(101).tolist()),
        (random.integers(0, 6, 60).astype(float).tolist(), random.integers(0, 4, 60).astype(float).tolist()),
    ]
    gains = [[3, 2, 3, 0, 1, 2], [0, 0, 0, 1], [1, 0], [0, 2, 0, 1, 0, 0, 0, 0, 0, 0, 0, 3], [0, 1, 1, 0, 0, 2, 0]]
    golden = {
        "generator": {name: importlib.metadata.version(name) for name in LIBRARIES},
        "statistics": [statistics(x, y) for x, y in pairs],
        "rankings": [ranking(g) for g in gains],
        "embeddings": embeddings(random),
        "retrieval": retrieval(random),
    }
    (HERE / "measures.json").write_text(json.dumps(golden, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
