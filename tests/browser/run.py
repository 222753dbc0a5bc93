#!/usr/bin/env python3
"""Tests the start page in headless Chromium, against a real server of models/nano.

Installs Debian's Chromium where there is none, makes a virtual environment below the cache folder, builds lexivec, and
runs test_page.py. While the page is being written, both of these save a build:

    run.py --program FILE    test this lexivec instead of building one
    run.py --page FILE       test this page, put before the server (front.py), instead of the one built in

Further arguments go to pytest.
"""

import argparse
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
# The font is for the screenshots: without one, Chinese is boxes.
PACKAGES = ["chromium", "chromium-driver", "fonts-droid-fallback"]
REQUIREMENTS = ["numpy", "openai", "pytest", "selenium"]


def browser() -> None:
    """Chromium and its driver; the driver has to come from where the browser does, for their versions must agree."""
    if shutil.which("chromium") and shutil.which("chromedriver"):
        return
    if not shutil.which("apt-get") or os.geteuid() != 0:
        sys.exit(f"chromium and chromedriver are missing; on Debian: sudo apt-get install {' '.join(PACKAGES)}")
    quiet = {"check": True, "stdout": subprocess.DEVNULL, "env": os.environ | {"DEBIAN_FRONTEND": "noninteractive"}}
    subprocess.run(["apt-get", "update", "--quiet"], **quiet)
    subprocess.run(["apt-get", "install", "--quiet", "--yes", "--no-install-recommends", *PACKAGES], **quiet)


def environment() -> Path:
    """The Python of a virtual environment with what the tests import; made once."""
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "lexivec" / "browser"
    python = cache / "bin" / "python"
    if not (cache / "complete").exists():
        venv.create(cache, with_pip=True, clear=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *REQUIREMENTS], check=True)
        (cache / "complete").touch()
    return python


def build() -> Path:
    subprocess.run(["cargo", "build", "--bin", "lexivec", "--locked"], cwd=ROOT, check=True)
    return Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "debug" / "lexivec"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", type=Path)
    parser.add_argument("--page", type=Path)
    arguments, rest = parser.parse_known_args()
    browser()
    python = environment()
    command = [python, "-B", "-m", "pytest", "--quiet", "-p", "no:cacheprovider", HERE]
    command += [f"--program={arguments.program or build()}"]
    command += [f"--page={arguments.page}"] if arguments.page else []
    return subprocess.run([*command, *rest]).returncode


if __name__ == "__main__":
    sys.exit(main())
