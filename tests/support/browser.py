"""A page in a headless Chromium, by the W3C WebDriver protocol: four requests, so no client library.

https://www.w3.org/TR/webdriver2/
"""

import base64
import json
import shutil
import tempfile
import urllib.request
from pathlib import Path

from .conditions import eventually
from .environment import skip
from .processes import Process, free_port

QUIET = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
         "--disable-background-networking", "--disable-component-update", "--disable-sync"]


class Browser:
    """Use as a context manager. dark: as a reader who prefers dark pages."""

    def __init__(self, dark=False):
        driver = shutil.which("chromedriver")
        if driver is None or shutil.which("chromium") is None:
            skip("no chromium and chromedriver; tests/run.sh proof installs them")
        self.folder = Path(tempfile.mkdtemp(prefix="infopair-browser-"))
        self.port = free_port()
        self.process = Process([driver, f"--port={self.port}"], self.folder / "driver.log")
        self.session = None
        scheme = ["--blink-settings=preferredColorScheme=0"] if dark else []
        self.arguments = [*QUIET, *scheme, f"--user-data-dir={self.folder / 'profile'}",
                          "--window-size=1100,900"]

    def __enter__(self):
        try:
            eventually(self._is_up, 30, "chromedriver answers")
            answer = self._ask("POST", "", {"capabilities": {"alwaysMatch": {
                "browserName": "chrome", "goog:chromeOptions": {"args": self.arguments}}}})
            self.session = answer["sessionId"]
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(self, kind, value, trace):
        if self.session is not None:
            self._ask("DELETE", f"/{self.session}")
        self.process.terminate(20)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _is_up(self):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/status", timeout=5) as answer:
                return json.load(answer)["value"]["ready"]
        except OSError:
            return False

    def _ask(self, method, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}/session{path}", data, {
            "Content-Type": "application/json"}, method=method)
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)["value"]

    def open(self, address):
        """Until the page is loaded."""
        self._ask("POST", f"/{self.session}/url", {"url": address})

    def run(self, script):
        """What a JavaScript function's body returns."""
        return self._ask("POST", f"/{self.session}/execute/sync", {"script": script, "args": []})

    def errors(self):
        """What the page has written to the console as an error."""
        found = self._ask("POST", f"/{self.session}/se/log", {"type": "browser"})
        return [line["message"] for line in found if line["level"] == "SEVERE"]

    def picture(self, path):
        path.write_bytes(base64.b64decode(self._ask("GET", f"/{self.session}/screenshot")))
