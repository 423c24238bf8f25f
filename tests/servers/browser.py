"""A private Chromium, driven over the WebDriver protocol (https://www.w3.org/TR/webdriver2/)."""

from __future__ import annotations

import base64
import http.client
import json
import time
from pathlib import Path
from typing import Any

from servers.server import Server

ELEMENT = (
    "element-6066-11e4-a52e-4f735466cecf"  # what the specification calls a reference to an element
)
FLAGS = (
    "headless",
    "no-sandbox",
    "disable-gpu",
    "disable-quic",
    "no-first-run",
    "disable-background-networking",
    "disable-component-update",
    "disable-sync",
    "disable-dev-shm-usage",
    "window-size=1280,1000",
)


class Browser(Server):
    """chromedriver with one session; `failures` tells what a page that was opened lacked."""

    account = "root"  # Chromium is told to do without its sandbox

    def command(self) -> list[str]:
        """Return chromedriver."""
        return ["env", f"HOME={self.directory}", "chromedriver", "--port=%d" % self.port]

    def ready(self) -> bool:
        """Tell whether it takes commands."""
        try:
            return bool(self._call("GET", "/status")["ready"])
        except OSError:
            return False

    def start(self) -> None:
        """Start it, and a session with an empty profile."""
        super().start()
        options = {
            "args": ["--" + flag for flag in FLAGS] + [f"--user-data-dir={self.directory}/profile"]
        }
        always = {
            "browserName": "chrome",
            "goog:chromeOptions": options,
            "goog:loggingPrefs": {"performance": "ALL", "browser": "ALL"},
        }
        made = self._call("POST", "/session", {"capabilities": {"alwaysMatch": always}})
        self._session = "/session/" + made["sessionId"]
        self._urls: dict[str, str] = {}
        # What Chromium itself asked for when it started.
        self.open("about:blank")
        self.failures()

    def stop(self) -> None:
        """Close the session, and with it Chromium, then stop chromedriver."""
        if self._process and self._process.poll() is None and hasattr(self, "_session"):
            self._call("DELETE", self._session)
        super().stop()

    def _call(self, method: str, path: str, words: Any = None) -> Any:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        try:
            body = json.dumps(words or {}) if method == "POST" else None
            connection.request(method, path, body, {"Content-Type": "application/json"})
            said = json.loads(connection.getresponse().read().decode())["value"]
        finally:
            connection.close()
        assert not (isinstance(said, dict) and "error" in said), said
        return said

    def open(self, url: str) -> None:
        """Open a page and wait until it is loaded."""
        self._call("POST", self._session + "/url", {"url": url})

    def look(self, width: int, scheme: str) -> None:
        """Show pages as wide as `width` pixels, to somebody who prefers ``light`` or ``dark``."""
        self._look(width, features=[{"name": "prefers-color-scheme", "value": scheme}])

    def on_paper(self, width: int) -> None:
        """Show the page as it is printed on paper that has room for `width` pixels."""
        self._look(width, media="print")

    def _look(self, width: int, **media: Any) -> None:
        metrics = {"width": width, "height": 1000, "deviceScaleFactor": 1, "mobile": False}
        self._devtools("Emulation.setDeviceMetricsOverride", metrics)
        self._devtools("Emulation.setEmulatedMedia", {"media": "", **media})

    def accessible(self, selector: str) -> dict[str, Any]:
        """Return what a screen reader is told of the first element that a CSS selector finds."""
        found = self._devtools(
            "Runtime.evaluate", {"expression": f"document.querySelector({selector!r})"}
        )
        words = {"objectId": found["result"]["objectId"], "fetchRelatives": False}
        nodes = self._devtools("Accessibility.getPartialAXTree", words)["nodes"]
        told: dict[str, Any] = nodes[0]
        return told

    def _devtools(self, command: str, words: Any) -> Any:
        """Send a command of https://chromedevtools.github.io/devtools-protocol/."""
        return self._call(
            "POST", self._session + "/goog/cdp/execute", {"cmd": command, "params": words}
        )

    def run(self, script: str, *words: Any) -> Any:  # type: ignore[override]
        """Run JavaScript in the page and return its result."""
        return self._call(
            "POST", self._session + "/execute/sync", {"script": script, "args": list(words)}
        )

    def type(self, selector: str, text: str) -> None:
        """Type into the element that a CSS selector finds; a text may end with a line feed, which
        sends a form.
        """
        found = self._call(
            "POST", self._session + "/element", {"using": "css selector", "value": selector}
        )
        self._call("POST", f"{self._session}/element/{found[ELEMENT]}/value", {"text": text})

    def forget(self) -> None:
        """Forget all cookies of the page's host, which are the same for all its ports."""
        self._call("DELETE", self._session + "/cookie")

    def wait(self, script: str) -> None:
        """Wait until a script returns true, at most a minute."""
        give_up = time.monotonic() + 60
        while not self.run(script):
            assert time.monotonic() < give_up, script
            time.sleep(0.1)

    @property
    def title(self) -> str:
        """The page's title."""
        return str(self._call("GET", self._session + "/title"))

    def screenshot(self, path: Path) -> None:
        """Write a PNG of the window."""
        path.write_bytes(base64.b64decode(self._call("GET", self._session + "/screenshot")))

    def failures(self) -> list[str]:
        """Return what failed since the last call: requests that were refused or broke, and the
        console's errors.
        """
        found = []
        for entry in self._log("performance"):
            event = json.loads(entry["message"])["message"]
            told = event["params"]
            if event["method"] == "Network.responseReceived" and told["response"]["status"] >= 400:
                found.append("%d %s" % (told["response"]["status"], told["response"]["url"]))
            if event["method"] == "Network.requestWillBeSent":
                self._urls[told["requestId"]] = told["request"]["url"]
            if event["method"] == "Network.loadingFailed" and not told.get("canceled"):
                found.append("{} {}".format(told["errorText"], self._urls.get(told["requestId"])))
        return found + [
            entry["message"] for entry in self._log("browser") if entry["level"] == "SEVERE"
        ]

    def _log(self, kind: str) -> list[dict[str, Any]]:
        entries: list[dict[str, Any]] = self._call(
            "POST", self._session + "/se/log", {"type": kind}
        )
        return entries
