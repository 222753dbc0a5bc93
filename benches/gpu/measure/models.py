"""Lists the models to measure, and converts them."""

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
    # The form of attention; None means the program's default.
    attention: str | None = None

    @property
    def name(self) -> str:
        """The model's name in results."""
        return f"{self.precision} {self.attention}" if self.attention else self.precision

    @property
    def folder(self) -> str:
        """The model's folder name."""
        return self.name.replace(" ", "-")


# In the order of conversion and measurement: models that the goals need come first.
FORMS = [Model(precision, attention) for attention in ("standard", "grouped") for precision in ("bf16", "fp16")]
QUANTISED = [Model(precision) for precision in ("fp8", "int8", "int8-weight", "int4-weight")]
NANO_MODELS = FORMS + QUANTISED
# On CUDA, `int8` means int8-weight, so the large checkpoint needs only one of them.
LARGE_MODELS = FORMS + [Model("fp8"), Model("int8"), Model("int4-weight")]


def convert(lexivec: Lexivec, source: Path, model: Model, output: Path, extra: list[str], timeout: float) -> float:
    """Converts a checkpoint for CUDA unless the output exists; returns the seconds that the program reports.

    A model directory is complete or absent, so an existing one is done. Raises Skip if the program lacks an option.
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
    """Returns the number of weights of all linear layers. Each is read once per batch and multiplied once per token."""
    config = json.loads((checkpoint / "config.json").read_text())
    hidden, heads = config["hidden_size"], config["num_attention_heads"] * config["head_dim"]
    key_value = config["num_key_value_heads"] * config["head_dim"]
    attention = hidden * (heads + 2 * key_value) + heads * hidden
    return config["num_hidden_layers"] * (attention + 3 * hidden * config["intermediate_size"])


def size_on_disk(folder: Path) -> int:
    """Returns the bytes of a model directory, including weights that are linked from the checkpoint."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def checkpoint(settings: Settings) -> Path:
    """Returns the folder of the random checkpoint with the large shape."""
    return settings.models / "checkpoint"
