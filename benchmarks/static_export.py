"""Compares static-export with its peers, both in one run, and prints the ratios.

usage: static_export.py DIRECTORY-OF-STATIC-FILES [INI [CODINGS]]

The full export of the directory, against WhiteNoise's compressor on a copy of it; with an ini file,
a run that changes nothing, against ``gearbox --help`` plus reading the application's settings as
PasteDeploy does. The processor's time is printed beside the wall's, for a machine that has other
things to do. Needs ``pip install whitenoise brotli``. WhiteNoise before 6.9 compresses on one core,
later ones on all.
"""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import sys
import tempfile
import time
from importlib import metadata
from pathlib import Path
from typing import Callable, Tuple

ROUNDS = 3
QUICK_ROUNDS = 9
GEARBOX = str(Path(sys.executable).parent / "gearbox")
EXPORT = """
import sys
from kallithea_tune.static_export.sources.collect import collect
from kallithea_tune.static_export.release.manifest import Recipe
from kallithea_tune.static_export.release import compress, publish
from kallithea_tune.static_export.release.plan import Served, make
source, target, codings = sys.argv[1:]
served = Served("benchmark", "1", (source,), collect([source], {}))
publish.publish(make(None, served, Recipe(codings=compress.parse_codings(codings))), target)
"""
BARE = """
import sys
from gearbox.main import main
from paste.deploy import appconfig
appconfig("config:" + sys.argv.pop())
sys.argv[0] = "gearbox"
main()
"""
Taken = Tuple[float, float]


def taken(do: Callable[[], object]) -> Taken:
    """Return the seconds that `do` took on the wall, and of the processor in its child
    processes.
    """
    began, before = time.perf_counter(), os.times()
    do()
    after = os.times()
    return time.perf_counter() - began, sum(after[2:4]) - sum(before[2:4])


def run(*words: str) -> None:
    """Run a command quietly; it must succeed."""
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def sizes(directory: str, suffix: str) -> int:
    """Return the bytes of all files below `directory` that end with `suffix`."""
    return sum(
        os.path.getsize(os.path.join(parent, name))
        for parent, _, names in os.walk(directory)
        for name in names
        if name.endswith(suffix)
    )


def whitenoise(source: str, target: str) -> None:
    """Copy `source` and compress it with WhiteNoise."""
    run(sys.executable, "-c", "import shutil, sys; shutil.copytree(*sys.argv[1:])", source, target)
    run(sys.executable, "-m", "whitenoise.compress", "--quiet", target)


def ratio(name: str, ours: list, peer: list) -> None:
    """Print the best of each, and what ours is of the peer's."""
    print(
        "%-16s %6.2f s (processor %6.2f s), peer %6.2f s (%6.2f s): %.2f of the peer's time"
        % (
            name,
            min(ours)[0],
            min(item[1] for item in ours),
            min(peer)[0],
            min(item[1] for item in peer),
            min(ours)[0] / min(peer)[0],
        )
    )


def full(source: str, codings: str, scratch: str) -> None:
    """Alternate WhiteNoise and a full export."""
    ours, peer = [], []
    for number in range(ROUNDS):
        one, other = os.path.join(scratch, "w%d" % number), os.path.join(scratch, "s%d" % number)
        peer.append(taken(functools.partial(whitenoise, source, one)))
        ours.append(
            taken(functools.partial(run, sys.executable, "-c", EXPORT, source, other, codings))
        )
    for name, directory in (
        ("WhiteNoise " + metadata.version("whitenoise"), one),
        ("static-export", other),
    ):
        found = [
            "%s %9d bytes" % (suffix, sizes(os.path.realpath(directory), suffix))
            for suffix in (".gz", ".br")
        ]
        print("%-16s %s" % (name, "   ".join(found)))
    ratio("full export", ours, peer)


def unchanged(ini: str, codings: str, scratch: str) -> None:
    """Alternate the bare start and a run that finds nothing to do."""
    target = os.path.join(scratch, "static")
    run(GEARBOX, "static-export", "-c", ini, target, "--compress", codings)
    ours, peer = [], []
    for _ in range(QUICK_ROUNDS):
        peer.append(taken(lambda: run(sys.executable, "-c", BARE, "--help", ini)))
        ours.append(taken(lambda: run(GEARBOX, "static-export", "-c", ini, target)))
    ratio("nothing changed", ours, peer)


def main() -> None:
    """Run what the arguments ask for."""
    codings = sys.argv[3] if len(sys.argv) > 3 else "gzip,br"
    scratch = tempfile.mkdtemp()
    try:
        if len(sys.argv) > 2:
            unchanged(os.path.abspath(sys.argv[2]), codings, scratch)
        full(os.path.abspath(sys.argv[1]), codings, scratch)
    finally:
        shutil.rmtree(scratch)


if __name__ == "__main__":
    main()
