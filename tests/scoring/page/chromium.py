"""A headless Chromium to look at pages."""

import base64
import json
import os
import select
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Any

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
_PATIENCE_SEC = 30
_FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-dev-shm-usage"
    " --disable-background-networking --disable-component-update --disable-sync"
    " --remote-debugging-pipe"
)


class Tab:
    """A page in Chromium, driven by its DevTools protocol over a pipe.

    https://chromedevtools.github.io/devtools-protocol/
    """

    def __init__(self, profile: Path):
        command_end, self._commands = os.pipe()
        self._answers, answer_end = os.pipe()

        # Chromium reads from descriptor 3 and writes to 4.
        shell = f'exec "$@" 3<&{command_end} 4>&{answer_end}'
        self._process = subprocess.Popen(
            [
                "bash",
                "-c",
                shell,
                "-",
                str(CHROMIUM),
                *_FLAGS.split(),
                f"--user-data-dir={profile}",
            ],
            pass_fds=(command_end, answer_end),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        os.close(command_end)
        os.close(answer_end)
        self._buffer, self._count, self._session = b"", 0, None
        self.events: list[dict[str, Any]] = []
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        attached = self.send("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.send(f"{domain}.enable")

    def send(self, method: str, **params: Any) -> dict[str, Any]:
        self._count += 1
        message = {"id": self._count, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._commands, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._receive()
            if answer.get("id") == self._count:
                assert "error" not in answer, answer
                return answer["result"]

    def _receive(self) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._answers], [], [], _PATIENCE_SEC)
            assert ready, f"Chromium has said nothing for {_PATIENCE_SEC} s"
            part = os.read(self._answers, 1 << 20)
            assert part, "Chromium has ended"
            self._buffer += part
        message, self._buffer = self._buffer.split(b"\0", 1)
        answer = json.loads(message)
        if "method" in answer:
            self.events.append(answer)
        return answer

    def open(self, path: Path) -> None:
        """Opens a page and waits until it has drawn all."""
        self.events.clear()
        self.send("Page.navigate", url=path.as_uri())
        while not any(event["method"] == "Page.loadEventFired" for event in self.events):
            self._receive()
        self.run(
            "new Promise((done, fail) => { const failure = document.getElementById('failure');"
            " const wait = () => {"
            " if (document.documentElement.dataset.ready) done();"
            " else if (!failure.hidden) fail(new Error(failure.textContent));"
            " else setTimeout(wait, 20); }; wait(); })"
        )

    def run(self, script: str) -> Any:
        """The value of a JavaScript expression, awaited if it is a promise."""
        answer = self.send(
            "Runtime.evaluate",
            expression=script,
            awaitPromise=True,
            returnByValue=True,
            userGesture=True,
        )
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def show_as(self, width: int, height: int, scheme: str) -> None:
        self.send(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 600,
        )
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.send("Emulation.setEmulatedMedia", features=features)

    def click(self, selector: str) -> None:
        self.run(f"document.querySelector({json.dumps(selector)}).click()")

    def choose(self, selector: str, value: str) -> None:
        self.run(
            f"{{ const one = document.querySelector({json.dumps(selector)});"
            f" one.value = {json.dumps(value)}; one.dispatchEvent(new Event('change')); }}"
        )

    def visible(self, selector: str) -> list[str]:
        """The texts of the elements that are shown."""
        return self.run(
            f"[...document.querySelectorAll({json.dumps(selector)})]"
            ".filter(one => one.getClientRects().length)"
            ".map(one => (one.innerText ?? one.textContent).trim())"
        )

    def complaints(self) -> list[str]:
        """What the console said, and scripts that failed."""
        kinds = ("Runtime.exceptionThrown", "Log.entryAdded", "Runtime.consoleAPICalled")
        return [json.dumps(event["params"]) for event in self.events if event["method"] in kinds]

    def requests(self) -> list[str]:
        return [
            event["params"]["request"]["url"]
            for event in self.events
            if event["method"] == "Network.requestWillBeSent"
        ]

    def screenshot(self, path: Path) -> None:
        answer = self.send("Page.captureScreenshot", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(answer["data"]))

    def pdf(self) -> bytes:
        answer = self.send("Page.printToPDF", preferCSSPageSize=True, printBackground=False)
        return base64.b64decode(answer["data"])

    def close(self) -> None:
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        os.close(self._commands)
        os.close(self._answers)
