"""Prints the last line of a benchmark run: the machine and the versions."""

import json
import os
import platform
import subprocess


def first_line(*words):
    """First line that a program prints, or None where it is missing."""
    try:
        done = subprocess.run(words, capture_output=True, text=True, check=False)
    except OSError:
        return None
    return (done.stdout or done.stderr).partition("\n")[0] or None


def processor():
    with open("/proc/cpuinfo", encoding="ascii") as lines:
        for line in lines:
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.machine()


def package(name):
    return first_line("dpkg-query", "-W", "-f", "${Version}", name)


def main():
    machine = {"processor": processor(), "cores": os.cpu_count(), "kernel": platform.release(),
               "memory_mib": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 20}
    versions = {"infopair": first_line("build/ci/infopair", "--version"),
                "gcc": first_line("gcc", "--version"), "librdkafka": package("librdkafka1"),
                "openblas": package("libopenblas0-pthread"), "kafka": "4.3.1",
                "java": first_line("java", "-version")}
    print(json.dumps({"machine": machine, "versions": versions}))


if __name__ == "__main__":
    main()
