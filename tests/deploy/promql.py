"""What a PromQL expression reads: series, labels, and how they are used."""

from dataclasses import dataclass, field

import promql_parser as ast


@dataclass
class Reading:
    """Everything that an expression names."""

    # Selectors, as Prometheus writes them, by metric name.
    selectors: list[tuple[str, str]] = field(default_factory=list)
    # Metrics under rate() or increase(), which are for counters alone.
    counted: set[str] = field(default_factory=set)
    # Labels that `by`, `on` and group_left name, each with the metrics that have to carry it.
    labels: list[tuple[str, set[str]]] = field(default_factory=list)


def read(expr: str) -> Reading:
    """Parses an expression.

    Raises ValueError if it is not PromQL.
    """
    reading = Reading()
    tree = ast.parse(expr)

    def visit(node: ast.Expr) -> None:
        match node:
            case ast.VectorSelector():
                reading.selectors.append((node.name, str(node)))
            case ast.Call() if node.func.name in ("rate", "irate", "increase"):
                reading.counted |= metrics(node)
            case ast.AggregateExpr() if node.modifier is not None:
                reading.labels += [(label, metrics(node.expr)) for label in node.modifier.labels]
            case ast.BinaryExpr() if node.modifier is not None and node.modifier.matching is not None:
                for side in (node.lhs, node.rhs):
                    reading.labels += [(label, metrics(side)) for label in node.modifier.matching.labels]

    ast.walk(tree, visit)
    return reading


def metrics(node: ast.Expr) -> set[str]:
    """The metrics that an expression selects."""
    names = set()
    ast.walk(node, lambda child: names.add(child.name) if isinstance(child, ast.VectorSelector) else None)
    return names


def labels(selector: str) -> set[str]:
    """The labels that a selector asks for by value; `x!=""` and `x!~"…"` say nothing about what there is."""
    positive = (ast.MatchOp.Equal, ast.MatchOp.Re)
    return {matcher.name for matcher in ast.parse(selector).matchers.matchers if matcher.op in positive}
