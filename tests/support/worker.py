"""The infopair binary under test: one-off commands, and the long-running worker."""

import json
import re
import signal
import subprocess
import urllib.error
import urllib.request

from .conditions import eventually
from .environment import ROOT
from .processes import Process, free_port

SCHEMAS = ROOT / "schemas"
METRIC = re.compile(r"^([a-zA-Z_:][a-zA-Z0-9_:]*)(\{[^}]*\})? (\S+)$")
PAIR = re.compile(r'([a-zA-Z_]+)="([^"]*)"')


def settings(options):
    """--set arguments of a dict of options."""
    return [part for name, value in options.items() for part in ("--set", f"{name}={value}")]


def command(build, *words, options=None, env=None, stdin=None, timeout=120, check=True):
    """Runs `infopair WORDS… --set …` to its end. Fails with its output unless it exits 0 (check)."""
    line = [str(build / "infopair"), *map(str, words),
            *settings({"schemas.directory": SCHEMAS, **(options or {})})]
    done = subprocess.run(line, capture_output=True, text=True, timeout=timeout, check=False,
                          env=env, input=stdin)
    if check and done.returncode != 0:
        raise AssertionError(f"{' '.join(line)} ended with {done.returncode}:\n"
                             f"{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return done


def parse_metrics(text):
    """{name: value}, and {name: {labels as a sorted tuple: value}} under name + '{}'."""
    metrics = {}
    for line in text.splitlines():
        found = METRIC.match(line)
        if not found:
            continue
        name, labels, value = found.groups()
        if labels:
            key = tuple(sorted(PAIR.findall(labels)))
            metrics.setdefault(name + "{}", {})[key] = float(value)
        else:
            metrics[name] = float(value)
    return metrics


class Worker:
    """`infopair run` as a process. The same object can be started again after it ended."""

    def __init__(self, build, folder, options, env=None, arguments=(), log="worker.log"):
        self.build = build
        self.log = folder / log
        self.env = env
        self.arguments = arguments
        self.port = free_port()
        self.options = {"schemas.directory": SCHEMAS, "http.address": f"127.0.0.1:{self.port}",
                        "kafka.instance": "test-0", **options}
        self.process = None

    def __enter__(self):
        return self.start()

    def __exit__(self, kind, value, trace):
        if kind is not None and self.process is not None:
            print(f"--- end of {self.log.name} ---\n{self.log_tail()}", flush=True)
        self.kill()

    def start(self, ready=False, timeout=90):
        line = [self.build / "infopair", "run", *self.arguments, *settings(self.options)]
        self.process = Process(line, self.log, env=self.env)
        if ready:
            self.wait_ready(timeout)
        return self

    def get(self, path):
        """(status, text) of an HTTP request; (None, reason) while nobody listens."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=10) as reply:
                return reply.status, reply.read().decode()
        except urllib.error.HTTPError as refusal:
            return refusal.code, refusal.read().decode()
        except OSError as trouble:  # not listening yet, or ended while we asked
            return None, str(trouble)

    def metrics(self):
        """Present metrics; {} while nobody listens."""
        status, text = self.get("/metrics")
        return parse_metrics(text) if status == 200 else {}

    def metric(self, name):
        return self.metrics().get(name)

    def alive(self):
        return self.process is not None and self.process.alive()

    def status(self):
        """How it ended (negative: by that signal); None while it runs."""
        return self.process.child.poll()

    def must_live(self):
        if not self.alive():
            raise AssertionError(f"the worker ended by itself with {self.status()}:\n"
                                 f"{self.log_tail()}")

    def wait_ready(self, timeout=90):
        last = [None]

        def is_ready():
            self.must_live()
            last[0] = self.get("/ready")
            return last[0][0] == 200
        try:
            eventually(is_ready, timeout, "the worker is ready")
        except AssertionError as trouble:
            raise AssertionError(f"{trouble}; /ready said {last[0]}\n{self.log_tail()}") from None

    def terminate(self, timeout=60):
        """SIGTERM; the exit status."""
        return self.process.terminate(timeout)

    def kill(self):
        """SIGKILL."""
        if self.process is not None:
            return self.process.kill()
        return None

    def freeze(self):
        """SIGSTOP: it does nothing until thaw(), as after a long pause of its machine."""
        self.process.signal(signal.SIGSTOP)

    def thaw(self):
        self.process.signal(signal.SIGCONT)

    def signal_twice(self):
        self.process.signal(signal.SIGTERM)
        self.process.signal(signal.SIGTERM)

    def log_tail(self, lines=40):
        return self.process.log_tail(lines) if self.process is not None else ""

    def resident_bytes(self):
        with open(f"/proc/{self.process.pid}/status", encoding="ascii") as status:
            for line in status:
                if line.startswith("VmRSS:"):
                    return int(line.split()[1]) * 1024
        return 0


def json_lines(text):
    return [json.loads(line) for line in text.splitlines() if line.strip()]
