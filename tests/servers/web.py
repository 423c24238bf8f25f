"""Private web servers, each around a configuration that static-export wrote."""

from __future__ import annotations

import http.client
import os
import pwd
import re
import ssl
import sys
from pathlib import Path

from servers.server import Server

from kallithea_tune.static_export.webservers import SERVERS, syntax
from kallithea_tune.system import programs


class WebServer(Server):
    """One of the web servers; give it its configuration with `configured` before `start`."""

    largest_file = 0  # bytes, 0 for no limit
    scheme = "http"  # https: whatever its certificate

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name
        self.static = self.directory / "static"

    @property
    def conf(self) -> Path:
        """Where the written configuration belongs."""
        return self.directory / "site.conf"

    def configured(self) -> None:
        """Put a whole configuration around the written one."""
        main = SERVERS[self.name].syntax.wrap(str(self.directory), str(self.conf), False)
        if self.name == "apache":
            ports = sorted(set(re.findall(r"<VirtualHost \*:(\d+)>", self.conf.read_text())))
            main = "".join("Listen 127.0.0.1:%s\n" % port for port in ports) + main
        if self.name == "lighttpd":
            main += 'server.bind = "127.0.0.1"\n'
        if self.name == "haproxy":
            # The tests start it without the privileges that it would drop.
            main = re.sub(r"(?m)^    (user|group|chroot|log) .*\n", "", main)
        (self.directory / "main.conf").write_text(main)
        if os.getuid() == 0:
            owner = pwd.getpwnam(self.account)
            for path in self.directory.glob("*.conf*"):
                os.chown(str(path), owner.pw_uid, owner.pw_gid)

    def command(self) -> list[str]:
        """Return the server's program, in the foreground."""
        found = programs.program(*SERVERS[self.name].syntax.programs, directories=syntax.SBIN)
        assert found, f"{self.name} is not installed"
        main = str(self.directory / "main.conf")
        home = [
            "env",
            f"HOME={self.directory}",
            f"XDG_DATA_HOME={self.directory}",
            f"XDG_CONFIG_HOME={self.directory}",
        ]
        # No file may grow: a proxy that keeps a clone or a push on the disk fails.
        limit = ["prlimit", "--fsize=%d" % self.largest_file] if self.largest_file else []
        return (
            limit
            + home
            + {
                "nginx": [found, "-p", str(self.directory), "-c", main, "-g", "daemon off;"],
                "apache": [found, "-f", main, "-DFOREGROUND"],
                "caddy": [found, "run", "--adapter", "caddyfile", "--config", main],
                "lighttpd": [found, "-D", "-f", main],
                "haproxy": [found, "-db", "-f", main],
            }[self.name]
        )

    def ready(self) -> bool:
        """Tell whether the server accepts requests."""
        try:
            self.get("/")
        except OSError:
            return False
        return True

    def get(self, path: str, **headers: str) -> tuple[int, dict[str, str], bytes]:
        """Return status, headers (lower case) and body of a GET, the path being sent as it is."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        if self.scheme == "https":
            context = ssl._create_unverified_context()
            connection = http.client.HTTPSConnection(
                "localhost", self.port, timeout=30, context=context
            )
        try:
            connection.putrequest("GET", path, skip_accept_encoding=True, skip_host=True)
            connection.putheader("Host", "localhost:%d" % self.port)
            for name, value in headers.items():
                connection.putheader(name.replace("_", "-"), value)
            connection.endheaders()
            answer = connection.getresponse()
            return (
                answer.status,
                {name.lower(): value for name, value in answer.getheaders()},
                answer.read(),
            )
        finally:
            connection.close()

    @property
    def url(self) -> str:
        """The server's own URL."""
        return "%s://localhost:%d" % (self.scheme, self.port)


class Application(Server):
    """Something simple to proxy to: it says what it got, and streams what is asked for without end
    in view.
    """

    account = "root"  # the Python of the tests may lie where others cannot read

    def command(self) -> list[str]:
        """Return the echoing server."""
        return [sys.executable, str(Path(__file__).with_name("echo.py")), str(self.port)]

    def ready(self) -> bool:
        """Tell whether it accepts requests."""
        return self.answers("/")
