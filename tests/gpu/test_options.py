"""Tests of the CUDA provider's options, and of nodes without a CUDA kernel."""

import shutil
from pathlib import Path

import pytest

import checkpoints
from conftest import Models
from program import Device
from recorded import Form

FP16 = Form("fp16", "standard")
INT4 = Form("int4-weight", "standard")
CUTLASS = "fpA_intB"


@pytest.fixture
def text(tmp_path: Path) -> Path:
    """A file with one text."""
    file = tmp_path / "text.txt"
    file.write_text("cardiac arrest\n")
    return file


@pytest.mark.parametrize(
    ("flags", "named", "said"),
    [
        (["--ep-option", "nonsense=1"], "`cuda.nonsense=1`", 'Unknown provider option: "nonsense"'),
        (["--ep-option", "cuda.gpu_mem_limit=much"], "`cuda.gpu_mem_limit=much`", "Failed to parse"),
        (["--devices", "7"], "`--devices`", "Invalid device ID: 7"),
        (["--ep-option", "tensorrt.trt_fp16_enable=1"], "tensorrt, which is not in use", "`cuda.`"),
    ],
)
def test_a_wrong_option_is_named(
    models: Models, device: Device, text: Path, flags: list[str], named: str, said: str
) -> None:
    error = device.fail("embed", models.converted("nano", FP16), text, "--ep", "cuda", *flags)
    assert named in error and said in error, error
    assert "needs an NVIDIA GPU" not in error


def test_cutlass_multiplies_integer_weights_only_if_enabled(
    models: Models, device: Device
) -> None:
    model = models.converted("nano", INT4)

    def launched(*flags: str) -> int:
        # A long text, because a small batch would be launched as a CUDA graph.
        trace, _ = device.embed(model, ["heart " * 300], *flags)
        return sum(CUTLASS.lower() in event.fields["name"].lower() for event in trace.of("kernel"))

    assert launched() == 0
    assert launched("--ep-option", "fpa_intb_gemm=1") > 0


def test_an_error_names_the_nodes_without_a_cuda_kernel(device: Device, text: Path, tmp_path: Path) -> None:
    # Without its manifest, the graph looks like another exporter's, so lexivec cannot know that it is for CPUs.
    model = tmp_path / "model"
    nano = checkpoints.nano().folder
    device.run("convert", nano, "-o", model, "--layout", "padded", "--no-verify")
    (model / "lexivec.json").unlink()
    shutil.copy(nano / "config.json", model)
    error = device.fail("embed", model, text, "--ep", "cuda")
    assert "(GroupQueryAttention)" in error and "--allow-cpu-nodes" in error, error
    # The graph ends with ReduceL2, which needs cuDNN.
    error = device.fail("embed", model, text, "--ep", "cuda", "--allow-cpu-nodes")
    assert "needs cuDNN 9" in error, error
