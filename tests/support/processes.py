"""Child processes that end with the test, by their own process id."""

import atexit
import os
import signal
import socket
import subprocess


def free_port():
    """A TCP port of 127.0.0.1 that nobody listens on at the moment."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Process:
    """A program with its output in a file."""

    def __init__(self, command, log, env=None, cwd=None):
        self.log = log
        self.command = [str(part) for part in command]
        with open(log, "ab") as output:
            self.child = subprocess.Popen(
                self.command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
                env={**os.environ, **(env or {})}, cwd=cwd)
        atexit.register(self.kill)

    @property
    def pid(self):
        return self.child.pid

    def alive(self):
        return self.child.poll() is None

    def signal(self, number):
        if self.alive():
            self.child.send_signal(number)

    def wait(self, timeout):
        """The exit status (negative: the signal that ended it)."""
        return self.child.wait(timeout)

    def terminate(self, timeout):
        """SIGTERM, and SIGKILL when that is not enough. Returns the exit status."""
        self.signal(signal.SIGTERM)
        try:
            return self.wait(timeout)
        except subprocess.TimeoutExpired:
            self.kill()
            raise

    def kill(self):
        """SIGKILL; harmless when it has ended."""
        if self.alive():
            self.child.kill()
        return self.child.wait()

    def log_tail(self, lines=30):
        with open(self.log, errors="replace") as text:
            return "".join(text.readlines()[-lines:])
