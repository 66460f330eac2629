"""Paths, the Python of the tests, and how a test that cannot run says so.

Only the standard library is imported here: this module finds the virtual environment that holds
the rest.
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CACHE = ROOT / ".cache"
DATA = Path(os.environ.get("TEST_DATA", ROOT.parent / "shared" / "data"))
SKIPPED = 77  # ctest's SKIP_RETURN_CODE


def skip(reason):
    """Ends the test as skipped."""
    print(f"skipped: {reason}", flush=True)
    sys.exit(SKIPPED)


def log(*words):
    """What a person may read while it runs; standard output is for results."""
    print(*words, file=sys.stderr, flush=True)


def enter():
    """Continues under the virtual environment's Python, unless that is where we are already."""
    python = CACHE / "venv" / "bin" / "python3"
    if Path(sys.prefix).resolve() == (CACHE / "venv").resolve():
        return
    if not python.exists():
        skip("no virtual environment in .cache/venv; tests/run.sh makes it")
    # Options without a path stay: -u, -X dev.
    os.execv(python, [str(python), *sys.argv])


def arguments(description, **more):
    """The options every test takes: --build (folder that holds the infopair binary), --keep (do not
    delete the working folder). more: name=default of further options; their type follows the
    default's."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--build", type=Path, default=ROOT / "build" / "ci",
                        help="build folder (default build/ci)")
    parser.add_argument("--keep", action="store_true", help="keep the working folder")
    for name, default in more.items():
        parser.add_argument("--" + name.replace("_", "-"), type=type(default), default=default,
                            help=f"default {default}")
    chosen = parser.parse_args()
    chosen.build = chosen.build.resolve()
    if not (chosen.build / "infopair").exists():
        sys.exit(f"no infopair in {chosen.build}: build it, or name another folder by --build")
    return chosen


def need_data(*names):
    """Paths of files in the data folder; skips the test when one is missing."""
    paths = [DATA / name for name in names]
    for path in paths:
        if not path.exists():
            skip(f"{path.name} is not in the data folder (set TEST_DATA)")
    return paths


def lines_of(program, *words):
    """What one of our programs prints, decoded: JSON, an object a line."""
    done = subprocess.run([program, *map(str, words)], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(done.stderr)
    return [json.loads(line) for line in done.stdout.splitlines()]
