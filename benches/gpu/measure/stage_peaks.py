"""Stage 5: measures the card's peaks. The table divides lexivec's figures by them."""

from . import children
from .results import Stage, Values
from .settings import Settings

NAME = "5-peaks"


def run(settings: Settings, stage: Stage) -> None:
    """Runs the only step."""

    def peaks() -> Values:
        children.require_modules("torch")
        how = ["--size", settings.matrix, "--copy-bytes", settings.copy_bytes]
        return children.run_script("torch_peaks.py", "--device", settings.torch_device, *how, timeout=120)

    stage.step("peaks", 40, peaks)
