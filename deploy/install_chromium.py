"""Put a Chromium on this machine where there is none, for the test of the live page: needs root and apt-get.

Where it cannot be had that is said in one line and is no failure: the test says that it was left out.
"""

import os
import shutil
import subprocess
import sys

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
#: The fonts: without any, every letter is a box.
_PACKAGES = ("chromium", "fonts-dejavu-core")
_PATIENCE_S = 240


def main() -> None:
    """Nothing to do where one is found."""
    if any(shutil.which(name) for name in _NAMES):
        return
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        print("no Chromium here: the live page is not tested; install one to do so", file=sys.stderr)
        return
    install = ("apt-get", "install", "--yes", "--quiet", "--no-install-recommends", *_PACKAGES)
    if not _done(install) and not (_done(("apt-get", "update", "--quiet")) and _done(install)):
        print("no Chromium could be installed: the live page is not tested", file=sys.stderr)


def _done(command: tuple[str, ...]) -> bool:
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    try:
        done = subprocess.run(command, env=environment, capture_output=True, check=False, timeout=_PATIENCE_S)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


if __name__ == "__main__":
    main()
