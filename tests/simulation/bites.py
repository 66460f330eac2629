"""Shows that the simulation finds what it is for: every patch in bugs/ plants one bug in a scratch
copy of the sources, and the judge must find it within the first seeds, for the expected reason.

A patch begins with what the bug is and a line `Expect: TEXT | TEXT...`: one is part of what the judge
then says.
"""

import argparse
import re
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
SOURCES = ("CMakeLists.txt", "config", "deploy", "schemas", "selectors", "worker", "tests")
SEEDS = "1-64"


def run(*words, **more):
    return subprocess.run([str(word) for word in words], capture_output=True, text=True, **more)


def must(done):
    if done.returncode != 0:
        sys.exit(f"{' '.join(done.args)}\n{done.stdout}{done.stderr}")
    return done.stdout


def copy_sources(scratch):
    """Times are kept, so that a second run builds little, but for what a patch may have left built."""
    for name in SOURCES:
        source, target = ROOT / name, scratch / name
        if source.is_dir():
            shutil.rmtree(target, ignore_errors=True)
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(source, target)
    for patch in HERE.glob("bugs/*.patch"):
        for name in re.findall(r"^\+\+\+ b/(.*)$", patch.read_text(), re.MULTILINE):
            (scratch / name).touch()


def build(scratch):
    must(run("cmake", "-G", "Ninja", "-S", scratch, "-B", scratch / "build",
             "-DCMAKE_BUILD_TYPE=Release"))
    must(run("cmake", "--build", scratch / "build", "--target", "simulate", "-j", "2"))


def bite(scratch, patch):
    """What the judge says to the planted bug; None: nothing."""
    must(run("patch", "-p1", "-d", scratch, "-i", patch))
    try:
        build(scratch)
        judged = run(sys.executable, HERE / "judge.py", "--simulate", scratch / "build" / "simulate",
                     "--seeds", SEEDS, "--no-shrink")
    finally:
        must(run("patch", "-R", "-p1", "-d", scratch, "-i", patch))
    if judged.returncode == 77:
        print(judged.stdout, end="")
        sys.exit(77)
    return (judged.stdout + judged.stderr).splitlines()[0] if judged.returncode else None


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scratch", type=Path, default=ROOT / "build" / "bites",
                        help="folder of the copy (default build/bites)")
    parser.add_argument("--only", default="", help="patches whose name contains this")
    chosen = parser.parse_args()
    patches = sorted(path for path in (HERE / "bugs").glob("*.patch") if chosen.only in path.name)
    assert patches, "no patches"
    chosen.scratch.mkdir(parents=True, exist_ok=True)
    copy_sources(chosen.scratch)
    missed = 0
    for patch in patches:
        expected = re.search(r"^Expect: (.*)$", patch.read_text(), re.MULTILINE).group(1)
        said = bite(chosen.scratch, patch)
        found = said is not None and any(text in said for text in expected.split(" | "))
        missed += not found
        print(f"{patch.stem}: {'found, ' if found else 'NOT FOUND, '}{said or 'all seeds passed'}",
              flush=True)
    sys.exit(missed > 0)


if __name__ == "__main__":
    main()
