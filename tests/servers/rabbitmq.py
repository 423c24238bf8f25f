"""A private RabbitMQ."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import pwd
import shutil
import subprocess
from pathlib import Path

import amqp
from servers.server import Server, free_port

VIRTUAL_HOSTS = ("/", "/other")


class RabbitMQ(Server):
    """A RabbitMQ node with a user ``kallithea`` who may do everything in its virtual hosts."""

    account = "rabbitmq"

    def __init__(self) -> None:
        super().__init__()
        self.names = {"epmd": free_port(), "distribution": free_port()}
        salt = os.urandom(4)
        digest = base64.b64encode(
            salt + hashlib.sha256(salt + self.password.encode()).digest()
        ).decode()
        definitions = {
            "users": [
                {
                    "name": "kallithea",
                    "password_hash": digest,
                    "tags": "administrator",
                    "hashing_algorithm": "rabbit_password_hashing_sha256",
                }
            ],
            "vhosts": [{"name": name} for name in VIRTUAL_HOSTS],
            "permissions": [
                {"user": "kallithea", "vhost": name, "configure": ".*", "write": ".*", "read": ".*"}
                for name in VIRTUAL_HOSTS
            ],
        }
        self._write("definitions.json", json.dumps(definitions))
        self._write(
            "rabbitmq.conf", "load_definitions = {}\n".format(self.directory / "definitions.json")
        )
        self._write("enabled_plugins", "[].\n")

    def _write(self, name: str, text: str) -> None:
        path = self.directory / name
        path.write_text(text)
        if os.getuid() == 0:
            owner = pwd.getpwnam(self.account)
            os.chown(str(path), owner.pw_uid, owner.pw_gid)

    def command(self) -> list[str]:
        """Return the server's own script, all that it writes being in the test's directory."""
        settings = {
            "HOME": self.directory,
            "RABBITMQ_NODENAME": "tune%d@localhost" % self.port,
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": self.port,
            "RABBITMQ_DIST_PORT": self.names["distribution"],
            "ERL_EPMD_PORT": self.names["epmd"],
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_MNESIA_BASE": self.directory / "mnesia",
            "RABBITMQ_LOG_BASE": self.directory / "log",
            "RABBITMQ_CONF_ENV_FILE": os.devnull,
            "RABBITMQ_CONFIG_FILE": self.directory / "rabbitmq.conf",
            "RABBITMQ_ENABLED_PLUGINS_FILE": self.directory / "enabled_plugins",
            "RABBITMQ_PID_FILE": self.directory / "pid",
        }
        return [
            "env",
            *("{}={}".format(*item) for item in settings.items()),
            "/usr/lib/rabbitmq/bin/rabbitmq-server",
        ]

    def ready(self) -> bool:
        """Tell whether the server lets the user in."""
        try:
            with amqp.Connection(
                host="127.0.0.1:%d" % self.port,
                userid="kallithea",
                password=self.password,
                connect_timeout=5,
            ):
                return True
        except (OSError, amqp.exceptions.AMQPError):
            return False

    @property
    def url(self) -> str:
        """The broker's URL as Kallithea's ini file has it."""
        return "amqp://kallithea:%s@127.0.0.1:%d//" % (self.password, self.port)

    def remove(self) -> None:
        """Stop the server and Erlang's port mapper that it started."""
        super().remove()
        mapper = shutil.which("epmd") or next(
            map(str, Path("/usr/lib/erlang").glob("erts-*/bin/epmd")), "epmd"
        )
        subprocess.run(
            [mapper, "-port", str(self.names["epmd"]), "-kill"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
