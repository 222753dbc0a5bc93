"""Finds the metrics and labels that a PromQL expression reads."""

from dataclasses import dataclass, field

import promql_parser as ast


@dataclass
class Reading:
    """The metrics and labels of an expression."""

    # Pairs of a metric name and a selector, as Prometheus writes it.
    selectors: list[tuple[str, str]] = field(default_factory=list)
    # Metrics under rate(), irate() or increase(), which require counters.
    counted: set[str] = field(default_factory=set)
    # Labels in `by`, `on` and `group_left`, each with the metrics that must have it.
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
                for operand in (node.lhs, node.rhs):
                    reading.labels += [(label, metrics(operand)) for label in node.modifier.matching.labels]

    ast.walk(tree, visit)
    return reading


def metrics(node: ast.Expr) -> set[str]:
    """Returns the metrics that an expression selects."""
    names = set()
    ast.walk(node, lambda child: names.add(child.name) if isinstance(child, ast.VectorSelector) else None)
    return names


def labels(selector: str) -> set[str]:
    """Returns the labels that a selector requires. `x!=""` and `x!~"…"` also match series without the label."""
    positive = (ast.MatchOp.Equal, ast.MatchOp.Re)
    return {matcher.name for matcher in ast.parse(selector).matchers.matchers if matcher.op in positive}
