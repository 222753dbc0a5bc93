"""OpenVINO on a padded graph: ours for target `standard`, or NNCF's.

The settings are those that OpenVINO's guide "High-level Performance Hints" gives for one request at a time: the hint LATENCY, which
makes one stream of all cores. Requests come one after another, so more streams would leave cores idle. bf16 is the inference
precision that OpenVINO chooses itself where the processor has bf16 instructions, and it is the faster one beside int8 products, too;
elsewhere it would only be simulated.
"""

import numpy as np
import openvino as ov
import openvino.properties as properties
import openvino.properties.hint as hint

import padding
import protocol


def main() -> None:
    arguments = protocol.arguments()
    core = ov.Core()
    capable = "BF16" in core.get_property("CPU", properties.device.capabilities)
    precision = ov.Type.bf16 if capable and arguments.precision in ("bf16", "int8") else ov.Type.f32
    settings = {
        hint.performance_mode: hint.PerformanceMode.LATENCY,
        hint.inference_precision: precision,
        properties.inference_num_threads: arguments.threads,
        # Other systems are paused, and the kernel places threads better than a fixed choice.
        hint.enable_cpu_pinning: False,
    }
    file = next(file for name in ("model.xml", "model.onnx") if (file := arguments.model / name).exists())
    model = core.read_model(file)
    # The other output has the states of all tokens.
    for output in [output for output in model.outputs if "sentence_embedding" not in output.names]:
        model.remove_result(output.node)
    request = core.compile_model(model, "CPU", settings).create_infer_request()

    def pooled(texts: protocol.Texts) -> np.ndarray:
        ids, mask = padding.padded(texts)
        request.infer({"input_ids": ids, "attention_mask": mask}, share_inputs=True)
        return request.get_output_tensor(0).data.copy()

    note = f"OpenVINO {ov.__version__.split('-')[0]}, {precision.get_type_name()}"
    protocol.serve(padding.in_batches(pooled), note)


if __name__ == "__main__":
    main()
