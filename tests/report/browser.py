"""A headless Chromium that looks at a page."""

import shutil
import subprocess
from pathlib import Path

import numpy as np
from matplotlib.image import imread
from numpy.typing import NDArray

from tests.patience import LONG

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
QUIET = (
    "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--hide-scrollbars", "--disable-dev-shm-usage",
)  # fmt: skip
NO_BROWSER = "no browser: install Chromium or Google Chrome (as root, `make test` does)"


def browser() -> str | None:
    """Return the path of a browser on the PATH."""
    return next(filter(None, map(shutil.which, NAMES)), None)


def look(page: Path, picture: Path, *options: str) -> tuple[list[str], NDArray[np.uint8]]:
    """Takes a `picture` of `page`; the lines of the console, and the picture as rows of pixels."""
    command = browser()
    assert command, NO_BROWSER
    done = subprocess.run(
        [
            command, *QUIET, f"--user-data-dir={picture.with_suffix('.profile')}", "--enable-logging=stderr",
            "--v=0", "--window-size=1280,2000", f"--screenshot={picture}", *options, page.as_uri(),
        ],
        capture_output=True, text=True, errors="replace", timeout=LONG, check=True,
    )  # fmt: skip
    pixels = (imread(picture)[..., :3] * 255).round().astype(np.uint8)
    return [line for line in done.stderr.splitlines() if "CONSOLE" in line], pixels
