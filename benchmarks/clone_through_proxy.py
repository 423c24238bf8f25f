"""What a proxy that buffers does to a clone: nginx as static-export writes it, and as most write
it, in one run.

usage: clone_through_proxy.py [MEGABYTES]

A real Kallithea with a Git repository of random data. Each clone is stopped for a moment after its
first 2 MB, as a slow line would do it, to see how much of it the proxy takes from Kallithea
meanwhile, and how much it puts on the disk.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import Callable

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tools")]

import make_instance  # noqa: E402
from servers.application import QUIET, Kallithea, run  # noqa: E402
from servers.large import PIECE, commit_git, init_git, write_pieces  # noqa: E402
from servers.site import started, write_public  # noqa: E402
from servers.tap import Tap  # noqa: E402
from servers.web import WebServer  # noqa: E402

BUFFERING = re.compile(r"(?m)^\s*(proxy_buffering off|proxy_request_buffering off|gzip off);\n")


class Disk:
    """Watches how much the open files of a server below a directory take; nginx unlinks them at
    once.
    """

    def __init__(self, server: WebServer, directory: Path) -> None:
        self.most, self._stop = 0, threading.Event()
        words = ["ps", "-o", "pid=", "--ppid", str(server.pid)]
        children = subprocess.run(
            words, stdout=subprocess.PIPE, universal_newlines=True
        ).stdout.split()
        self._places = [f"/proc/{pid}/fd" for pid in children]
        self._directory = str(directory)
        self._thread = threading.Thread(target=self._watch)

    def _watch(self) -> None:
        while not self._stop.wait(0.02):
            found = 0
            for place in self._places:
                for name in os.listdir(place):
                    with contextlib.suppress(OSError):
                        path = os.path.join(place, name)
                        if os.readlink(path).startswith(self._directory):
                            found += os.stat(path).st_blocks * 512
            self.most = max(self.most, found)

    def __enter__(self) -> Disk:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()


def cloned(
    name: str, scratch: Path, public: Path, application: Kallithea, change: Callable[[str], str]
) -> None:
    """Clone through nginx, and print what happened."""
    tap = Tap(application.port)
    server, _ = started("nginx", public, tap, change=change)
    try:
        with Disk(server, server.directory / "proxy") as disk:
            words = ["git", "clone", "-q", server.url + "/git-large", str(scratch / name)]
            passed = tap.passed_beyond("down", 2_000_000, words, env=QUIET)
        print(
            f"{name:<12} {passed / 1e6:6.1f} of {tap.down / 1e6:6.1f} MB left Kallithea while the "
            f"client was stopped; {disk.most / 1e6:6.1f} MB of temporary files"
        )
    finally:
        tap.close()
        server.remove()


def main() -> None:
    """Make the repository, clone it twice."""
    pieces = int(sys.argv[1] if len(sys.argv) > 1 else "128") * 1024 * 1024 // PIECE
    scratch = Path(tempfile.mkdtemp())
    application = None
    try:
        ini = make_instance.make(scratch / "instance", 100, front_end=False)
        work = scratch / "work"
        init_git(work)
        write_pieces([work], pieces)
        commit_git(work)
        run("git", "clone", "-q", "--bare", work, ini.parent / "repos" / "git-large", cwd=scratch)
        run("kallithea-cli", "repo-scan", "-c", ini, cwd=scratch)
        application = Kallithea(ini)
        application.start()
        public = write_public(scratch / "public")
        cloned("as written", scratch, public, application, str)
        cloned("buffering", scratch, public, application, lambda text: BUFFERING.sub("", text))
    finally:
        if application:
            application.remove()
        shutil.rmtree(str(scratch))


if __name__ == "__main__":
    main()
