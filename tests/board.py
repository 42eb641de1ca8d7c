"""A real TensorBoard on loopback."""

from __future__ import annotations

import http.client
import json
import os
import socket
import subprocess
import sys
import time
from importlib.metadata import entry_points
from pathlib import Path
from urllib.parse import urlencode

DEADLINE = 60
"""Seconds to wait at most for something, also on a busy machine."""

TENSORBOARD = "from tensorboard.main import run_main; run_main()"


class Board:
    """Starts TensorBoard as a process of its own; a context manager that ends it.

    Args:
        logdir: The log directory.
        log: Where what it says is written.
        flags: More flags.
        prefix: The path prefix it serves under.
        before: Python code that runs in its process before it starts.
    """

    def __init__(self, logdir, log, *flags, prefix="", before=""):
        installed = entry_points(group="tensorboard_plugins", name="ablation_cam")
        assert installed, "the installation is older than the tab; run pip install -e . again"
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._port = free.getsockname()[1]
        self._prefix = prefix
        self._log = log
        self._command = [
            *(sys.executable, "-c", before + TENSORBOARD, "--host=127.0.0.1"),
            *(f"--logdir={logdir}", f"--port={self._port}", "--reload_interval=1"),
            *(f"--path_prefix={prefix}", *flags),
        ]

    def __enter__(self):
        with self._log.open("w") as log:
            self._process = subprocess.Popen(
                self._command, stdout=log, stderr=log, env={**os.environ, "PYTHONUNBUFFERED": "1"}
            )
        try:
            self.wait_for(lambda: self.raw("GET", "/data/plugins_listing")[0] == 200)
        except BaseException:
            self.__exit__()
            raise
        return self

    @property
    def peak_memory(self):
        """The most bytes that its process has ever had in memory."""
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        (line,) = (line for line in status.splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024

    def __exit__(self, *_):
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    @property
    def url(self):
        return f"http://127.0.0.1:{self._port}{self._prefix}/"

    @property
    def said(self):
        return self._log.read_text()

    def wait_for(self, condition):
        """Return what ``condition()`` returns as soon as that is true."""
        end = time.monotonic() + DEADLINE
        while time.monotonic() < end:
            assert self._process.poll() is None, f"TensorBoard ended:\n{self.said}"
            try:
                if found := condition():
                    return found
            except OSError:
                pass
            time.sleep(0.1)
        raise AssertionError(f"not within {DEADLINE} s; TensorBoard said:\n{self.said}")

    def raw(self, method, path, headers=()):
        """Status, headers and content of an answer to exactly this path."""
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=DEADLINE)
        try:
            connection.request(method, self._prefix + path, headers=dict(headers))
            response = connection.getresponse()
            return response.status, response.headers, response.read()
        finally:
            connection.close()

    def get(self, route, method="GET", headers=(), **parameters):
        """The same of one of the tab's routes."""
        query = f"?{urlencode(parameters)}" if parameters else ""
        return self.raw(method, f"/data/plugin/ablation_cam/{route}{query}", headers)

    def json(self, route, **parameters):
        status, headers, content = self.get(route, **parameters)
        assert status == 200, content
        assert headers["Content-Type"] == "application/json"
        return json.loads(content)
