#!/usr/bin/env python3
"""Tests the start page in headless Chromium against a real server of models/nano, and the reports of `lexivec compare` and `lexivec terms`.

Installs Debian's Chromium if there is none, creates a virtual environment in the cache folder, builds `lexivec`, and runs
the tests in this folder. If LEXIVEC_PROGRAM is set, it names the program to test, and nothing is built.

    run.py --page FILE       test this page instead of the built-in one; a proxy in front of the server serves it (front.py)

Other arguments are passed to pytest.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "python"))
import suite  # noqa: E402  (needs the path)

HERE = Path(__file__).resolve().parent
# The font is for screenshots, in which Chinese characters would otherwise be boxes.
PACKAGES = ["chromium", "chromium-driver", "fonts-droid-fallback"]


def browser() -> None:
    """Installs Chromium and its driver. Both must have the same source, because their versions must match."""
    if shutil.which("chromium") and shutil.which("chromedriver"):
        return
    if not shutil.which("apt-get") or os.geteuid() != 0:
        sys.exit(f"chromium and chromedriver are missing; on Debian: sudo apt-get install {' '.join(PACKAGES)}")
    quiet = {"check": True, "stdout": subprocess.DEVNULL, "env": os.environ | {"DEBIAN_FRONTEND": "noninteractive"}}
    subprocess.run(["apt-get", "update", "--quiet"], **quiet)
    subprocess.run(["apt-get", "install", "--quiet", "--yes", "--no-install-recommends", *PACKAGES], **quiet)


def main() -> int:
    browser()
    return suite.pytest(HERE, suite.environment("browser/python", HERE / "requirements.txt"), *sys.argv[1:])


if __name__ == "__main__":
    suite.main(main)
