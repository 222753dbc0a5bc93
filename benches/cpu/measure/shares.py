"""What share of the machine's peaks a rate is, counted over linear layers alone."""

from .loads import Load

# Bytes of a weight by the type of the factors in linear layers.
BYTES = {"int8": 1, "bf16": 2, "fp32": 4}


def linear_weights(config: dict) -> int:
    """Returns the number of weights of all linear layers."""
    hidden, inner, head = config["hidden_size"], config["intermediate_size"], config["head_dim"]
    heads, kv_heads = config["num_attention_heads"], config["num_key_value_heads"]
    attention = hidden * head * (2 * heads + 2 * kv_heads)
    return config["num_hidden_layers"] * (attention + 3 * hidden * inner)


def shares(config: dict, peaks: dict, load: Load, row: dict, arithmetic: str) -> dict[str, float] | None:
    """Returns the shares of the arithmetic peak and of the bandwidth, or None where texts share tokens.

    Every token is counted in every layer, and the weights as read once for each request. Without instructions for bf16, its peak is
    that of fp32.
    """
    peak = peaks[arithmetic] or (peaks["fp32"] if arithmetic == "bf16" else None)
    if "failed" in row or load.repeats or not peak:
        return None
    weights = linear_weights(config)
    return {
        "arithmetic": row["tokens_per_s"] * 2 * weights / peak["operations_per_s"],
        "bandwidth": weights * BYTES[arithmetic] / row["median_s"] / peaks["read_bytes_per_s"],
    }
