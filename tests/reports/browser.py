"""Debian's chromium without a window, spoken to over its debugging pipe (Chrome DevTools Protocol)."""

import contextlib
import json
import os
import shutil
import subprocess
from collections.abc import Iterator

PROGRAM = shutil.which("chromium")


class Browser:
    """A tab of a running browser.

    Attributes:
        requests: URLs that the pages asked for, those of pictures in them too.
        complaints: what a console would show: exceptions, errors, violations of the page's policy.
    """

    def __init__(self, reading: int, writing: int):
        self._reading, self._writing, self._unread = reading, writing, b""
        self._number, self._session = 0, None
        self._events: list[str] = []
        self.requests: list[str] = []
        self.complaints: list[str] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters) -> dict:
        """The result of a command of the protocol."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        message |= {"sessionId": self._session} if self._session else {}
        os.write(self._writing, json.dumps(message).encode() + b"\0")
        while (found := self._next()).get("id") != self._number:
            pass
        assert "result" in found, found
        return found["result"]

    def open(self, url: str) -> None:
        """Load *url* and wait until it and its pictures are there."""
        self._events.clear()
        self.call("Page.navigate", url=url)
        while "Page.loadEventFired" not in self._events:
            self._next()

    def value(self, script: str):
        """The value of a JavaScript expression, as JSON would hold it."""
        found = self.call("Runtime.evaluate", expression=script, returnByValue=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def _next(self) -> dict:
        while b"\0" not in self._unread:
            chunk = os.read(self._reading, 1 << 16)
            assert chunk, "the browser has ended"
            self._unread += chunk
        text, _, self._unread = self._unread.partition(b"\0")
        message = json.loads(text)
        method, parameters = message.get("method", ""), message.get("params", {})
        self._events.append(method)
        if method == "Network.requestWillBeSent":
            self.requests.append(parameters["request"]["url"])
        if method in ("Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded"):
            self.complaints.append(json.dumps(parameters))
        return message


@contextlib.contextmanager
def browser(profile: str | os.PathLike) -> Iterator[Browser]:
    """Start the browser with its profile in the folder *profile*; it ends with the block."""
    read_commands, write_commands = os.pipe()
    read_answers, write_answers = os.pipe()
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"]
    # the browser reads its file 3 and writes its file 4
    shell = f'exec "$@" 3<&{read_commands} 4>&{write_answers}'
    command = ["bash", "-c", shell, "-", PROGRAM, *flags, f"--user-data-dir={profile}", "--remote-debugging-pipe"]
    process = subprocess.Popen(command, pass_fds=(read_commands, write_answers), stderr=subprocess.DEVNULL)
    os.close(read_commands)
    os.close(write_answers)
    try:
        yield Browser(read_answers, write_commands)
    finally:
        process.terminate()
        process.wait()
        os.close(read_answers)
        os.close(write_commands)
