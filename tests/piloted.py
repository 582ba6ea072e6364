"""A page in headless Chromium that is driven as a person would: keys and clicks that the browser holds for real.

Chromium speaks its debugging protocol over a pipe: no port is opened and no library is needed.
"""

import base64
import json
import os
import select
import subprocess
import sys
import time
from pathlib import Path

import pytest

from browser import CHROMIUM, FLAGS

_PATIENCE = 60
_LAUNCH = """import fcntl, os, sys
ends = [fcntl.fcntl(int(end), fcntl.F_DUPFD, 10) for end in sys.argv[1:3]]
for end, number in zip(ends, (3, 4)):  # where Chromium looks for its pipes
    os.dup2(end, number)
    os.close(end)
os.execv(sys.argv[3], sys.argv[3:])
"""


class Pilot:
    """One page in a browser of its own; `with Pilot(folder) as page`. Skips where Chromium does not answer."""

    def __init__(self, folder: Path, *, width: int = 1000, height: int = 900, dark: bool = False) -> None:
        self.folder, self.size, self.dark = folder, (width, height), dark
        self.console: list[str] = []
        self._number, self._buffer = 0, b""

    def __enter__(self) -> "Pilot":
        ours_in, theirs_out = os.pipe()
        theirs_in, ours_out = os.pipe()
        self._in, self._out = ours_in, ours_out
        command = [
            sys.executable, "-c", _LAUNCH, str(theirs_in), str(theirs_out), CHROMIUM, *FLAGS,
            "--remote-debugging-pipe", f"--user-data-dir={self.folder / 'profile'}",
            f"--window-size={self.size[0]},{self.size[1]}", "about:blank",
        ]  # fmt: skip
        self._process = subprocess.Popen(
            command, pass_fds=(theirs_in, theirs_out), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        os.close(theirs_in)
        os.close(theirs_out)
        self._session = None
        targets = self.call("Target.getTargets")["targetInfos"]
        page = next((t["targetId"] for t in targets if t["type"] == "page"), None)
        page = page or self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=page, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self.call(f"{domain}.enable")
        scheme = [{"name": "prefers-color-scheme", "value": "dark" if self.dark else "light"}]
        self.call("Emulation.setEmulatedMedia", features=scheme)
        width, height = self.size
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )
        return self

    def __exit__(self, *raised: object) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._in)
        os.close(self._out)

    def call(self, method: str, **parameters: object) -> dict:
        """One command and its answer."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        try:
            os.write(self._out, json.dumps(message).encode() + b"\0")
        except BrokenPipeError:
            pytest.skip("chromium does not start on this machine")
        while (answer := self._next()).get("id") != self._number:
            self._note(answer)
        if "error" in answer:
            raise AssertionError(f"{method}: {answer['error']}")
        return answer["result"]

    def _next(self) -> dict:
        until = time.monotonic() + _PATIENCE
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._in], [], [], max(0, until - time.monotonic()))
            piece = os.read(self._in, 2**20) if ready else b""
            if not piece:
                pytest.skip("chromium does not answer on this machine")
            self._buffer += piece
        one, _, self._buffer = self._buffer.partition(b"\0")
        return json.loads(one)

    def _note(self, event: dict) -> None:
        method, given = event.get("method"), event.get("params", {})
        if method == "Runtime.exceptionThrown":
            details = given["exceptionDetails"]
            self.console.append(details.get("exception", {}).get("description") or details["text"])
        if method == "Log.entryAdded":
            self.console.append(given["entry"]["text"])
        if method == "Page.javascriptDialogOpening":
            self._dialogue = given["message"]

    def open(self, address: str) -> None:
        self.call("Page.navigate", url=address)
        self.until("document.readyState === 'complete' && location.href !== 'about:blank'")

    def reload(self) -> None:
        self.run("window.before = true")
        self.call("Page.reload")
        self.until("document.readyState === 'complete' && !window.before")

    def run(self, script: str) -> object:
        """The value of an expression in the page."""
        found = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in found:
            raise AssertionError(found["exceptionDetails"]["exception"].get("description"))
        return found["result"].get("value")

    def until(self, script: str) -> None:
        """Wait for an expression to become true."""
        end = time.monotonic() + _PATIENCE
        while time.monotonic() < end:
            try:
                if self.run(script):
                    return
            except AssertionError:  # the page is on its way
                pass
            time.sleep(0.01)
        raise AssertionError(f"{script} did not become true; console: {self.console}")

    def press(self, key: str, *, modifiers: int = 0, repeat: bool = False) -> None:
        code = {"Tab": 9, "Enter": 13, " ": 32}.get(key, ord(key.upper()[0]))
        text = "\r" if key == "Enter" else "" if key == "Tab" or modifiers else key
        shared = {"key": key, "windowsVirtualKeyCode": code, "modifiers": modifiers}
        down = "keyDown" if text else "rawKeyDown"
        self.call("Input.dispatchKeyEvent", type=down, text=text, autoRepeat=repeat, **shared)
        self.call("Input.dispatchKeyEvent", type="keyUp", **shared)

    def click(self, selector: str) -> None:
        box = self.run(f"(({{x, y, width, height}}) => [x + width / 2, y + height / 2])"
                       f"(document.querySelector('{selector}').getBoundingClientRect())")  # fmt: skip
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=box[0], y=box[1], button="left", clickCount=1)

    def accept(self) -> None:
        """Say yes to every question that the browser asks in a box."""
        self.run("window.confirm = (text) => { (window.asked ||= []).push(text); return true; }")

    def downloads(self, folder: Path) -> None:
        session, self._session = self._session, None
        self.call("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(folder))
        self._session = session

    def picture(self, path: Path) -> None:
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"]))
