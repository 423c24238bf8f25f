"""Requests per second for one file: served by the application itself, and by each web server before
it.

usage: serve_static.py .../kallithea/public [PATH]

Needs wrk, and the web servers that are to be measured. Eight connections, one client thread; the
rounds alternate, the best of each counts, and the ratio to the application is printed.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tools")]

import make_instance  # noqa: E402
from servers.application import Kallithea  # noqa: E402
from servers.site import started  # noqa: E402

ROUNDS, SECONDS = 3, 3
SERVERS = ("apache", "caddy", "lighttpd", "nginx")


def requests_per_second(url: str) -> float:
    """Return what wrk counts."""
    words = ["wrk", "-t1", "-c8", "-d%d" % SECONDS, url]
    said = subprocess.run(words, stdout=subprocess.PIPE, universal_newlines=True, check=True).stdout
    assert "Non-2xx" not in said, said
    found = re.search(r"Requests/sec:\s+([\d.]+)", said)
    assert found, said
    return float(found[1])


def main() -> None:
    """Start all, measure them in turn, and print the best of each."""
    public, path = (
        Path(sys.argv[1]).resolve(),
        sys.argv[2] if len(sys.argv) > 2 else "css/style.css",
    )
    scratch = Path(tempfile.mkdtemp())
    running = []
    try:
        ini = make_instance.make(scratch / "instance", 100, front_end=False)
        # The package that holds the directory: it may be another one than what is installed.
        application = Kallithea(ini, public.parents[1])
        running.append(application)
        application.start()
        urls = {"application": "http://127.0.0.1:%d/%s" % (application.port, path)}
        for name in SERVERS:
            server, _ = started(name, public, application)
            running.append(server)
            urls[name] = "http://localhost:%d/%s" % (server.port, path)
        best = dict.fromkeys(urls, 0.0)
        for _ in range(ROUNDS):
            for name, url in urls.items():
                best[name] = max(best[name], requests_per_second(url))
        for name, rate in best.items():
            print(
                "%-12s %7.0f requests/s, %4.1f times the application"
                % (name, rate, rate / best["application"])
            )
    finally:
        for one in reversed(running):
            one.remove()
        shutil.rmtree(str(scratch))


if __name__ == "__main__":
    main()
