#!/usr/bin/env python3
"""Tests the start page in headless Chromium, against a real server of models/nano.

Installs Debian's Chromium where there is none, makes a virtual environment below the cache folder, builds `lexivec`, and
runs the tests beside this file. LEXIVEC_PROGRAM names another program than the one built.

    run.py --page FILE       test this page, put before the server (front.py), instead of the one built in

Further arguments go to pytest.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "python"))
import suite  # noqa: E402  (needs the path)

HERE = Path(__file__).resolve().parent
# The font is for the screenshots: without one, Chinese is boxes.
PACKAGES = ["chromium", "chromium-driver", "fonts-droid-fallback"]


def browser() -> None:
    """Chromium and its driver; the driver has to come from where the browser does, for their versions must agree."""
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
