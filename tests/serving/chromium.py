"""A real, headless Chromium, driven through its DevTools protocol over a pair of pipes.

Messages are JSON, each followed by a zero byte; commands go to the browser's file descriptor 3, answers and events
come from 4. See https://chromedevtools.github.io/devtools-protocol/.
"""

import base64
import fcntl
import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_OPTIONS = (
    "--headless=new", "--remote-debugging-pipe", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
    "--disable-extensions", "--disable-background-networking", "--disable-component-update", "--no-first-run",
    "--no-default-browser-check", "--hide-scrollbars", "--mute-audio", "--force-color-profile=srgb",
)  # fmt: skip


def browser() -> str | None:
    """Where one is."""
    found = (shutil.which(name) for name in _NAMES)
    return next((path for path in found if path), None)


class Page:
    """One page of the browser; events that came are in `events`, newest last."""

    def __init__(self, commands: int, answers: int, patience_s: float = 20.0) -> None:
        self._commands, self._answers, self._patience_s = commands, answers, patience_s
        self._rest, self._n, self._session = b"", 0, ""
        self.events: list[dict[str, Any]] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """The result of a command."""
        self._n += 1
        message: dict[str, Any] = {"id": self._n, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._commands, json.dumps(message).encode() + b"\0")
        until = time.monotonic() + self._patience_s
        while True:
            got = self._next(until)
            if got.get("id") == self._n:
                if "error" in got:
                    raise RuntimeError(f"{method}: {got['error']}")
                result: dict[str, Any] = got["result"]
                return result
            self.events.append(got)

    def _next(self, until: float) -> dict[str, Any]:
        while b"\0" not in self._rest:
            if not select.select([self._answers], [], [], max(0.0, until - time.monotonic()))[0]:
                raise TimeoutError("the browser does not answer")
            part = os.read(self._answers, 1 << 20)
            if not part:
                raise RuntimeError("the browser has ended")
            self._rest += part
        text, _, self._rest = self._rest.partition(b"\0")
        message: dict[str, Any] = json.loads(text)
        return message

    def run(self, script: str) -> Any:
        """The value of a JavaScript expression; a promise is waited for."""
        got = self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in got:
            raise RuntimeError(f"{script}: {got['exceptionDetails']}")
        return got["result"].get("value")

    def until(self, script: str, patience_s: float = 10.0) -> None:
        """Wait until an expression is true."""
        end = time.monotonic() + patience_s
        while not self.run(f"Boolean({script})"):
            if time.monotonic() > end:
                raise AssertionError(f"never so: {script}\n{self.run('document.body.innerText')[:2000]}")
            time.sleep(0.05)

    def open(self, url: str, *, width: int = 1280, height: int = 900, dark: bool = False) -> None:
        """Load a page in a window of this size."""
        self.resize(width, height, dark=dark)
        self.call("Page.navigate", url=url)
        self.until("document.readyState === 'complete'")

    def resize(self, width: int, height: int = 900, *, dark: bool = False) -> None:
        """Another window, or another taste."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self.call("Emulation.setDeviceMetricsOverride", **size)
        scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self.call("Emulation.setEmulatedMedia", features=scheme)

    def picture(self, path: Path) -> bytes:
        """The whole page as a PNG, written to the path, too."""
        size = self.call("Page.getLayoutMetrics")["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1}
        shot = self.call("Page.captureScreenshot", format="png", clip=clip, captureBeyondViewport=True)
        data = base64.b64decode(shot["data"])
        path.write_bytes(data)
        return data

    def requested(self) -> list[str]:
        """Every address that was asked for so far."""
        found = [each for each in self.events if each["method"] == "Network.requestWillBeSent"]
        return [each["params"]["request"]["url"] for each in found]

    def faults(self) -> list[str]:
        """What the console would show in red: exceptions, refused files, broken rules."""
        told = []
        for event in self.events:
            entry = event["params"].get("entry", {})
            if event["method"] == "Runtime.exceptionThrown" or entry.get("level") == "error":
                told.append(json.dumps(event["params"]))
        return told


def _pipe() -> tuple[int, int]:
    """File descriptors (to read, to write), both out of the way of those that the browser's shall be."""
    pair = os.pipe()
    high = [fcntl.fcntl(each, fcntl.F_DUPFD_CLOEXEC, 10) for each in pair]
    for each in pair:
        os.close(each)
    return high[0], high[1]


@contextmanager
def chromium(folder: Path) -> Iterator[Page]:
    """A browser with one page, its profile in the folder; ended with the block."""
    path = browser()
    assert path is not None
    to_browser, commands = _pipe()
    answers, from_browser = _pipe()
    profile = f"--user-data-dir={folder / 'profile'}"
    script = f'exec "$0" "$@" 3<&{to_browser} 4>&{from_browser}'
    with subprocess.Popen(
        ["bash", "-c", script, path, *_OPTIONS, profile],
        pass_fds=(to_browser, from_browser),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=os.environ | {"HOME": str(folder)},
    ) as process:
        os.close(to_browser)
        os.close(from_browser)
        try:
            yield Page(commands, answers)
        finally:
            os.close(commands)  # it ends by itself when nobody can give it commands
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
            os.close(answers)
