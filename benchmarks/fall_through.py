"""Requests per second that a web server passes on to the application, below a directory that has
static files and elsewhere, beside those for a file.

usage: fall_through.py DIRECTORY-OF-STATIC-FILES [SERVER...]

Needs wrk and nginx, which stands in for the application and answers at once. Eight connections, one
client thread; the rounds alternate, and the medians of what each round makes of the paths count.
"""

from __future__ import annotations

import statistics
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "benchmarks")]

from serve_static import requests_per_second  # noqa: E402
from servers.server import Server  # noqa: E402
from servers.site import started  # noqa: E402

ROUNDS = 5
SERVERS = ("apache", "caddy", "lighttpd", "nginx")
PATHS = {
    "a file": "css/style.css",
    "a lasting file": "css/style.css?ver=0.7.0",
    "below css": "css/no-file-of-this-name",
    "elsewhere": "group/no-file-of-this-name",
}
ANSWERING = """
worker_processes 1;
pid {directory}/pid;
error_log {directory}/error.log;
events {{ }}
http {{
    access_log off;
    keepalive_requests 1000000;
    server {{ listen 127.0.0.1:{port}; location / {{ return 200 "page"; }} }}
}}
"""


class Answering(Server):
    """An application that answers everything at once."""

    account = "root"

    def command(self) -> "list[str]":
        """Return nginx with a page for every path."""
        conf = self.directory / "answering.conf"
        conf.write_text(ANSWERING.format(directory=self.directory, port=self.port))
        return ["nginx", "-p", str(self.directory), "-c", str(conf), "-g", "daemon off;"]

    def ready(self) -> bool:
        """Tell whether it accepts requests."""
        return self.answers("/")


def measure(name: str, public: Path, application: Server) -> None:
    """Print the rates of one server, and the ratio of the two that are passed on."""
    server, _ = started(name, public, application)
    try:
        rates = {kind: [] for kind in PATHS}
        for _ in range(ROUNDS):
            for kind, path in PATHS.items():
                url = "http://localhost:%d/%s" % (server.port, path)
                rates[kind].append(requests_per_second(url))
    finally:
        server.remove()
    ratios = [below / other for below, other in zip(rates["below css"], rates["elsewhere"])]
    print(
        "%-9s" % name,
        *("%s %6.0f/s" % (kind, statistics.median(found)) for kind, found in rates.items()),
        "below css / elsewhere %.2f" % statistics.median(ratios),
        sep="  ",
        flush=True,
    )


def main() -> None:
    """Measure one server after the other."""
    application = Answering()
    try:
        application.start()
        for name in sys.argv[2:] or SERVERS:
            measure(name, Path(sys.argv[1]).resolve(), application)
    finally:
        application.remove()


if __name__ == "__main__":
    main()
