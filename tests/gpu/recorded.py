"""The recorded number of launches in one batch of each model. A change may only lower these numbers.

To update them, run `make test-gpu`. A failing test prints the numbers that it found.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Form:
    """A precision and a form of attention."""

    precision: str
    attention: str

    def __str__(self) -> str:
        return f"{self.precision}-{self.attention}"


@dataclass(frozen=True)
class Recorded:
    """The launches of one batch."""

    # Includes the routines of cuBLAS.
    kernels: int
    # Matrix multiplications of cuBLAS and cuBLASLt.
    products: int


# GroupQueryAttention has no float32 kernel, so fp32 has only one form.
FORMS = [Form("fp32", "standard")] + [
    Form(precision, attention)
    for precision in ("fp16", "bf16", "int8", "int8-weight", "int4-weight", "fp8")
    for attention in ("standard", "grouped")
]


def attention_kernel(form: Form) -> str:
    """Returns a part of the attention kernel's name. FlashAttention does not support float32."""
    return "UnfusedSoftmaxKernel" if form.precision == "fp32" else "flash_fwd"


# A batch of three short texts, by checkpoint and form.
# With integer weights, a kernel converts them to float16 before each matrix multiplication.
RECORDED: dict[tuple[str, str], Recorded] = {
    ("nano", "fp32-standard"): Recorded(kernels=106, products=54),
    ("nano", "fp16-standard"): Recorded(kernels=83, products=42),
    ("nano", "fp16-grouped"): Recorded(kernels=59, products=30),
    ("nano", "bf16-standard"): Recorded(kernels=83, products=42),
    ("nano", "bf16-grouped"): Recorded(kernels=59, products=30),
    ("nano", "int8-standard"): Recorded(kernels=125, products=38),
    ("nano", "int8-grouped"): Recorded(kernels=89, products=26),
    ("nano", "int8-weight-standard"): Recorded(kernels=125, products=38),
    ("nano", "int8-weight-grouped"): Recorded(kernels=89, products=26),
    ("nano", "int4-weight-standard"): Recorded(kernels=125, products=38),
    ("nano", "int4-weight-grouped"): Recorded(kernels=89, products=26),
    ("nano", "fp8-standard"): Recorded(kernels=167, products=42),
    ("nano", "fp8-grouped"): Recorded(kernels=143, products=30),
    ("4B, two layers", "fp32-standard"): Recorded(kernels=38, products=18),
    ("4B, two layers", "fp16-standard"): Recorded(kernels=31, products=14),
    ("4B, two layers", "fp16-grouped"): Recorded(kernels=23, products=10),
    ("4B, two layers", "bf16-standard"): Recorded(kernels=31, products=14),
    ("4B, two layers", "bf16-grouped"): Recorded(kernels=23, products=10),
    ("4B, two layers", "int8-weight-standard"): Recorded(kernels=45, products=10),
    ("4B, two layers", "int8-weight-grouped"): Recorded(kernels=33, products=6),
    ("4B, two layers", "int4-weight-standard"): Recorded(kernels=45, products=10),
    ("4B, two layers", "int4-weight-grouped"): Recorded(kernels=33, products=6),
    ("4B, two layers", "fp8-standard"): Recorded(kernels=59, products=14),
    ("4B, two layers", "fp8-grouped"): Recorded(kernels=51, products=10),
}
