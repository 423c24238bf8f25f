"""Compresses the same files with WhiteNoise and with static-export, in one run, and prints the ratios.

usage: static_export.py DIRECTORY-OF-STATIC-FILES [CODINGS]

Needs ``pip install whitenoise brotli``. WhiteNoise before 6.9 compresses on one core, later ones on all.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time

from kallithea_tune.probes.static_files import collect
from kallithea_tune.release import Recipe
from kallithea_tune.statics import compress, publish
from kallithea_tune.statics.plan import Served, make

ROUNDS = 3


def sizes(directory: str, suffix: str) -> int:
    """Return the bytes of all files below `directory` that end with `suffix`."""
    return sum(
        os.path.getsize(os.path.join(parent, name)) for parent, _, names in os.walk(directory) for name in names
        if name.endswith(suffix))


def peer(source: str, target: str) -> float:
    """Copy `source` and compress it with WhiteNoise; return the seconds of both."""
    began = time.perf_counter()
    shutil.copytree(source, target)
    subprocess.run([sys.executable, "-m", "whitenoise.compress", "--quiet", target], check=True)
    return time.perf_counter() - began


def ours(source: str, target: str, codings: tuple) -> float:
    """Publish `source`; return the seconds."""
    began = time.perf_counter()
    served = Served("benchmark", "1", (source,), collect([source], {}))
    publish.carry_out(make(None, served, Recipe(codings=codings)), target)
    return time.perf_counter() - began


def main() -> None:
    """Alternate the two and print what the best of each took."""
    source = sys.argv[1]
    codings = compress.parse_codings(sys.argv[2] if len(sys.argv) > 2 else "gzip,br")
    taken = {"WhiteNoise": [], "static-export": []}
    with tempfile.TemporaryDirectory() as scratch:
        for number in range(ROUNDS):
            one, other = os.path.join(scratch, "w%d" % number), os.path.join(scratch, "s%d" % number)
            taken["WhiteNoise"].append(peer(source, one))
            taken["static-export"].append(ours(source, other, codings))
        for name, directory in (("WhiteNoise", one), ("static-export", os.path.realpath(other))):
            print("%-14s %6.2f s   gz %9d bytes   br %9d bytes" % (
                name, min(taken[name]), sizes(directory, ".gz"), sizes(directory, ".br")))
    print("ratio: %.2f of WhiteNoise's time" % (min(taken["static-export"]) / min(taken["WhiteNoise"])))


if __name__ == "__main__":
    main()
