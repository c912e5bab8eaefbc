# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Chromium without a window, told what to do over a pipe (its DevTools protocol), by the standard library alone."""

from __future__ import annotations

import base64
import contextlib
import fcntl
import json
import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
    "--remote-debugging-pipe", "--hide-scrollbars", "--force-color-profile=srgb",
)  # fmt: skip
SECONDS = 60
# Chromium reads commands from file 3 and writes answers to file 4
_SHELL = 'exec chromium "$@" 3<&$READ 4>&$WRITE'


class Browser:
    """A page of a browser."""

    def __init__(self, reading: int, writing: int) -> None:
        self._from, self._to = os.fdopen(reading, "rb"), os.fdopen(writing, "wb")
        self._number, self._session, self._rest = 0, "", b""
        target = self._do("Target.createTarget", url="about:blank")["targetId"]
        self._session = self._do("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self._do("Page.enable")

    def _do(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Give a command and return its result."""
        self._number += 1
        session = {"sessionId": self._session} if self._session else {}
        command = {"id": self._number, "method": method, "params": parameters, **session}
        self._to.write(json.dumps(command).encode() + b"\0")
        self._to.flush()
        answer = self._until(lambda one: one.get("id") == self._number)
        assert "error" not in answer, (method, answer)
        result: dict[str, Any] = answer["result"]
        return result

    def _until(self, is_wanted: Any) -> dict[str, Any]:
        while True:
            message: dict[str, Any] = json.loads(self._message())
            if is_wanted(message):
                return message

    def _message(self) -> bytes:
        while b"\0" not in self._rest:
            more = os.read(self._from.fileno(), 1 << 16)
            assert more, "the browser has ended"
            self._rest += more
        message, _end, self._rest = self._rest.partition(b"\0")
        return message

    def open(self, path: Path, width: int, *, scheme: str = "light", media: str = "screen") -> None:
        """Open a file in a window of this width."""
        self._do("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=False)
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self._do("Emulation.setEmulatedMedia", media=media, features=features)
        self._do("Page.navigate", url=path.as_uri())
        self._until(lambda one: one.get("method") == "Page.loadEventFired")

    def evaluate(self, script: str) -> Any:
        """Return what a script on the page does."""
        answer = self._do("Runtime.evaluate", expression=script, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def picture(self, height: int = 0) -> bytes:
        """Return the page as PNG, or as much of it as has this height."""
        whole, width = self.evaluate("[document.documentElement.scrollHeight, innerWidth]")
        clip = {"x": 0, "y": 0, "width": width, "height": min(height or whole, whole), "scale": 1}
        taken = self._do("Page.captureScreenshot", format="png", captureBeyondViewport=True, clip=clip)
        return base64.b64decode(taken["data"])


def _high(descriptor: int) -> int:
    """Return a file as one with a number that is not 3 or 4."""
    try:
        return fcntl.fcntl(descriptor, fcntl.F_DUPFD, 10)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def started() -> Iterator[Browser]:
    """Give a browser with an empty profile; it is ended behind it."""
    to_read, to_write = map(_high, os.pipe())
    from_read, from_write = map(_high, os.pipe())
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        command = ["timeout", str(10 * SECONDS), "bash", "-c", _SHELL, "bash", *FLAGS, f"--user-data-dir={profile}"]
        environment = {**os.environ, "HOME": profile, "READ": str(to_read), "WRITE": str(from_write)}
        with subprocess.Popen(
            command, pass_fds=(to_read, from_write), env=environment, stderr=subprocess.DEVNULL
        ) as process:
            os.close(to_read)
            os.close(from_write)
            try:
                yield Browser(from_read, to_write)
            finally:
                process.terminate()
