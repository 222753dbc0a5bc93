"""What each model does on a device in one batch, as it was recorded. A change may only lower the numbers.

To record anew: run `make test-gpu`; a failing test shows the numbers that it found.
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
    """Launches of one batch."""

    # CUTLASS's products and the routines of cuBLAS are among them.
    kernels: int
    # Of cuBLAS and cuBLASLt.
    products: int


# GroupQueryAttention has no float32 kernel, so fp32 has one form.
FORMS = [Form("fp32", "standard")] + [
    Form(precision, attention)
    for precision in ("fp16", "bf16", "int8", "int8-weight", "int4-weight")
    for attention in ("standard", "grouped")
]


def attention_kernel(form: Form) -> str:
    """A part of the name of the kernel that attends. FlashAttention has no float32."""
    return "UnfusedSoftmaxKernel" if form.precision == "fp32" else "flash_fwd"


# By checkpoint and form: a batch of three short texts.
RECORDED: dict[tuple[str, str], Recorded] = {}
