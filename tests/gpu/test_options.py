"""Options of the CUDA provider, and nodes that it has no kernel for."""

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
    """A file of one text."""
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


def test_weights_in_blocks_are_multiplied_as_they_are_only_if_an_option_says_so(
    models: Models, device: Device
) -> None:
    model = models.converted("nano", INT4)

    def launched(*flags: str) -> int:
        # Graphs would hide the launches of a small batch.
        trace, _ = device.embed(model, ["heart " * 300], *flags)
        return sum(CUTLASS.lower() in event.fields["name"].lower() for event in trace.of("kernel"))

    assert launched() == 0
    assert launched("--ep-option", "fpa_intb_gemm=1") > 0


def test_work_left_on_the_cpu_is_an_error_that_names_it(device: Device, text: Path, tmp_path: Path) -> None:
    # Without its manifest the graph is another exporter's: nothing says that it is for CPUs.
    model = tmp_path / "model"
    nano = checkpoints.nano().folder
    device.run("convert", nano, "-o", model, "--layout", "padded", "--no-verify")
    (model / "lexivec.json").unlink()
    shutil.copy(nano / "config.json", model)
    error = device.fail("embed", model, text, "--ep", "cuda")
    assert "(GroupQueryAttention)" in error and "--allow-cpu-nodes" in error, error
    # The same graph ends in ReduceL2, which needs cuDNN.
    error = device.fail("embed", model, text, "--ep", "cuda", "--allow-cpu-nodes")
    assert "needs cuDNN 9" in error, error
