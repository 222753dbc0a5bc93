"""Quantises a padded float32 graph to int8 with NNCF, as OpenVINO's guide for transformers does: `to_nncf.py MODEL OUTPUT THREADS`.

Weights and activations are int8 with static scales, calibrated on random ids, like those that the benchmark sends.
"""

import sys
from pathlib import Path

import nncf
import numpy as np
import openvino as ov

# Texts of the calibration, and their tokens.
TEXTS = 16
TOKENS = 128
FIRST_ID, LAST_ID = 300, 15_300


def main() -> None:
    source, output, threads = sys.argv[1:]
    core = ov.Core()
    core.set_property("CPU", {ov.properties.inference_num_threads: int(threads)})
    model = core.read_model(Path(source) / "model.onnx")
    for unused in [unused for unused in model.outputs if "sentence_embedding" not in unused.names]:
        model.remove_result(unused.node)
    rng = np.random.default_rng(0)
    mask = np.ones((1, TOKENS), np.int64)
    texts = [{"input_ids": rng.integers(FIRST_ID, LAST_ID, (1, TOKENS)), "attention_mask": mask} for _ in range(TEXTS)]
    quantised = nncf.quantize(
        model,
        nncf.Dataset(texts),
        model_type=nncf.ModelType.TRANSFORMER,
        preset=nncf.QuantizationPreset.PERFORMANCE,
        target_device=nncf.TargetDevice.CPU,
        subset_size=TEXTS,
    )
    ov.save_model(quantised, Path(output) / "model.xml", compress_to_fp16=False)


if __name__ == "__main__":
    main()
