"""onnxruntime's Python package on our padded graph for target `ort`, with one thread per core and all graph optimisations."""

import numpy as np
import onnxruntime

import padding
import protocol


def main() -> None:
    arguments = protocol.arguments()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = arguments.threads
    session = onnxruntime.InferenceSession(arguments.model / "model.onnx", options, providers=["CPUExecutionProvider"])

    def pooled(texts: protocol.Texts) -> np.ndarray:
        ids, mask = padding.padded(texts)
        return session.run(["sentence_embedding"], {"input_ids": ids, "attention_mask": mask})[0]

    protocol.serve(padding.in_batches(pooled), f"onnxruntime {onnxruntime.__version__}")


if __name__ == "__main__":
    main()
