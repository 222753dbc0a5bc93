"""The sizes of measurements: full sizes for a card and tiny ones for the dry run."""

from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).resolve().parents[1]
KIT = HERE.parents[1]

# The published measurements have 16,384 tokens per batch and 185 tokens per input.
BATCH_TOKENS = 16_384
INPUT_TOKENS = 185


@dataclass(frozen=True)
class Settings:
    """Sizes, times and folders of a run."""

    work: Path
    results: Path
    dry: bool = False
    full_library: bool = False
    retry: bool = False
    # Sizes that replace those of the 4B model.
    smaller: dict[str, int] = field(default_factory=dict)
    # Lengths of the texts that are compared with transformers.
    lengths: tuple[int, ...] = (
        *(2, 3, 4, 5, 6, 8, 10, 12, 14, 16, 20, 24, 28, 32, 40, 48, 56, 64, 80, 96, 128, 160, 185, 224),
        *(256, 384, 512, 768, 1024, 2048, 4096, 8192),
    )
    longest: int = 32_768
    # Token counts of inputs. The server appends a token to each.
    speed_lengths: tuple[int, ...] = (16, 64, INPUT_TOKENS, 512, 2048, 8192, 32_767)
    few_speed_lengths: tuple[int, ...] = (16, INPUT_TOKENS, 2048)
    batch_tokens: int = BATCH_TOKENS
    rounds: int = 3
    round_seconds: float = 2.5
    latency_requests: int = 300
    inputs_per_request: int = 64
    in_flight: int = 16
    load_rounds: int = 4
    load_seconds: float = 8.0
    matrix: int = 8192
    copy_bytes: int = 8 << 30
    # The device on which torch computes.
    torch_device: str = "cuda"

    @property
    def models(self) -> Path:
        """The folder of the checkpoint and the model directories."""
        return self.work / "models"


def dry(work: Path, results: Path, retry: bool, full_library: bool) -> Settings:
    """Returns settings for the stand-in device that take seconds: two narrow layers with the heads of the 4B model."""
    return Settings(
        work=work,
        results=results,
        dry=True,
        retry=retry,
        full_library=full_library,
        smaller={"hidden": 512, "layers": 2, "intermediate": 1024, "vocabulary": 16_400},
        lengths=(2, 5, 16, 64),
        longest=1024,
        speed_lengths=(16, 185, 1024),
        few_speed_lengths=(16, 185),
        batch_tokens=1024,
        rounds=2,
        round_seconds=0.3,
        latency_requests=5,
        inputs_per_request=4,
        in_flight=3,
        load_rounds=2,
        load_seconds=0.5,
        matrix=256,
        copy_bytes=1 << 20,
        torch_device="cpu",
    )
