"""Which models are measured, and how each is converted."""

import json
import re
from dataclasses import dataclass
from pathlib import Path

from .program import Lexivec
from .results import Skip
from .settings import KIT, Settings

NANO = KIT / "models" / "nano"


@dataclass(frozen=True)
class Model:
    """One conversion of a checkpoint for CUDA."""

    precision: str
    # A form of attention; None is the program's default.
    attention: str | None = None

    @property
    def name(self) -> str:
        """Its name in results."""
        return f"{self.precision} {self.attention}" if self.attention else self.precision

    @property
    def folder(self) -> str:
        """Its name as a folder."""
        return self.name.replace(" ", "-")


# The order in which they are converted and measured: what the goals need comes first.
FORMS = [Model(precision, attention) for attention in ("standard", "grouped") for precision in ("bf16", "fp16")]
QUANTISED = [Model(precision) for precision in ("fp8", "int8", "int8-weight", "int4-weight")]
NANO_MODELS = FORMS + QUANTISED
# int8-weight is what `int8` means on CUDA, so the large checkpoint needs one of them.
LARGE_MODELS = FORMS + [Model("fp8"), Model("int8"), Model("int4-weight")]


def convert(lexivec: Lexivec, source: Path, model: Model, output: Path, extra: list[str], timeout: float) -> float:
    """Converts a checkpoint for CUDA, unless that is done; returns the seconds that it took by the program's account.

    A model directory is complete or absent, so one that exists is done. Raises Skip for what the program cannot do.
    """
    if output.is_dir():
        return 0.0
    if not lexivec.has("convert", "--ep"):
        raise Skip("`lexivec convert` has no --ep")
    if not re.search(rf"(?<![\w-]){model.precision}(?![\w-])", lexivec.help("convert")):
        raise Skip(f"`lexivec convert` has no precision {model.precision}")
    flags = ["--ep", "cuda", "--precision", model.precision, "--output", output, "--no-verify", *extra]
    if model.attention:
        if not lexivec.has("convert", "--attention"):
            raise Skip("`lexivec convert` has no --attention")
        flags += ["--attention", model.attention]
    said = lexivec.run("convert", source, *flags, timeout=timeout)
    seconds = [line.split(" MB in ")[1].split(" s")[0] for line in said.splitlines() if " MB in " in line]
    return float(seconds[0]) if seconds else 0.0


def layer_weights(checkpoint: Path) -> int:
    """How many weights the linear layers have: each is read once per batch and multiplied once per token."""
    config = json.loads((checkpoint / "config.json").read_text())
    hidden, heads = config["hidden_size"], config["num_attention_heads"] * config["head_dim"]
    key_value = config["num_key_value_heads"] * config["head_dim"]
    attention = hidden * (heads + 2 * key_value) + heads * hidden
    return config["num_hidden_layers"] * (attention + 3 * hidden * config["intermediate_size"])


def size_on_disk(folder: Path) -> int:
    """Bytes of a model directory; weights that are linked from the checkpoint count."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def checkpoint(settings: Settings) -> Path:
    """The random checkpoint of the large shape."""
    return settings.models / "checkpoint"
