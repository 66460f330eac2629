"""Waiting for conditions, the only way in which a test lets time pass."""

import threading
import time


class Overdue(AssertionError):
    """A condition did not hold in time."""


def eventually(condition, timeout, what, every=0.1):
    """Calls `condition` until it returns something true and returns that. Fails after `timeout`
    seconds, with `what` was awaited and what was seen last. An exception of the condition is final.
    """
    pause = threading.Event()
    deadline = time.monotonic() + timeout
    while True:
        seen = condition()
        if seen:
            return seen
        if time.monotonic() > deadline:
            raise Overdue(f"not within {timeout} s: {what} (last seen: {seen!r})")
        pause.wait(every)


def steadily(condition, duration, what, every=0.2):
    """Checks that `condition` holds all through `duration` seconds: for what must NOT happen."""
    pause = threading.Event()
    end = time.monotonic() + duration
    while time.monotonic() < end:
        if not condition():
            raise AssertionError(f"did not last {duration} s: {what}")
        pause.wait(every)
