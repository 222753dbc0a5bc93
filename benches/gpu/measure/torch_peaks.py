#!/usr/bin/env python3
"""Measures the card's peak rates of matrix multiplication and memory traffic with torch.

    torch_peaks.py --device cuda --size 8192 --copy-bytes 8589934592

The data are random, because multiplying zeros takes less power and runs faster.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable

import torch

REPEATS = 15


def seconds(work: Callable[[], object], device: str) -> float:
    """Returns the median time of a call."""
    for _ in range(3):
        work()
    times = []
    for _ in range(REPEATS):
        if device == "cuda":
            start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            start.record()
            work()
            end.record()
            torch.cuda.synchronize()
            times.append(start.elapsed_time(end) / 1e3)
        else:
            started = time.perf_counter()
            work()
            times.append(time.perf_counter() - started)
    return statistics.median(times)


def multiplication(kind: str, rows: int, inputs: int, outputs: int, device: str) -> Callable[[], object]:
    """Returns a function that multiplies activations by the transposed weights of a linear layer."""
    x, w = (torch.randn(n, inputs, device=device) / 8 for n in (rows, outputs))
    if kind == "fp8":
        x, w = x.to(torch.float8_e4m3fn), w.to(torch.float8_e4m3fn)
        one = torch.ones((), device=device)
        return lambda: torch._scaled_mm(x, w.t(), scale_a=one, scale_b=one, out_dtype=torch.bfloat16)
    dtype = {"bf16": torch.bfloat16, "fp16": torch.float16}[kind]
    x, w = x.to(dtype), w.to(dtype)
    return lambda: x @ w.t()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--device", required=True)
    parser.add_argument("--size", type=int, required=True)
    parser.add_argument("--copy-bytes", type=int, required=True)
    arguments = parser.parse_args()
    device, n = arguments.device, arguments.size
    peaks: dict[str, object] = {"device": torch.cuda.get_device_name() if device == "cuda" else "cpu"}
    # Square matrices give the card's peak. The others are those of gate or up of a 4B-sized model in a full batch.
    for kind in ("bf16", "fp16", "fp8"):
        for name, shape in [("square", (n, n, n)), ("gate", (2 * n, 5 * n // 16, 19 * n // 16))]:
            try:
                taken = seconds(multiplication(kind, *shape, device), device)
                peaks[f"{kind}_{name}_tflops"] = round(2 * shape[0] * shape[1] * shape[2] / taken / 1e12, 2)
            except Exception as error:
                peaks[f"{kind}_{name}_tflops"] = None
                peaks[f"{kind}_{name}_error"] = str(error).splitlines()[0][:200]
    source = torch.randint(0, 255, (arguments.copy_bytes // 2,), dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    copied = seconds(lambda: target.copy_(source), device)
    peaks["copy_gb_per_second"] = round(2 * source.numel() / copied / 1e9, 1)
    read = source.view(torch.int32)
    peaks["read_gb_per_second"] = round(source.numel() / seconds(lambda: read.max(), device) / 1e9, 1)
    print(json.dumps(peaks))


if __name__ == "__main__":
    main()
