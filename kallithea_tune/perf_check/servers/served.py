"""What serves the ini file: processes with their settings, or settings that nothing runs."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Iterable, Iterator, Mapping, Optional, Sequence

from kallithea_tune.config import mod_wsgi, server_command
from kallithea_tune.config import wsgi_server as config
from kallithea_tune.config.instance import Instance
from kallithea_tune.config.server_command import Start
from kallithea_tune.config.wsgi_server import Server
from kallithea_tune.perf_check.measurement import Context, Examined, measurement
from kallithea_tune.perf_check.servers.processes import Seen, Worker, look, path_in
from kallithea_tune.system import child
from kallithea_tune.system.account import account_of, as_invoker

SECONDS = 0.5


@dataclass(frozen=True)
class Served:
    """A server of the ini file: the processes that run it, none where it is only configured.

    `workers` serve requests; `masters` are those that started them.
    """

    server: Server
    workers: tuple[Worker, ...] = ()
    masters: tuple[Worker, ...] = ()

    @property
    def runs(self) -> bool:
        """Whether it was seen running."""
        return bool(self.workers)

    @property
    def threads_seen(self) -> int:
        """The most threads of one process, beside its main one."""
        return max((worker.threads for worker in self.workers), default=1) - 1


@dataclass(frozen=True)
class Processes:
    """How many processes serve, and the `cores` that they may use.

    `resident_mb` is the mean memory of a process, shared memory included; None where none runs.
    """

    cores: float
    running: int
    resident_mb: Optional[float] = None

    def count_for(self, server: Server) -> Optional[int]:
        """Return the number that run or are configured, whichever is more; None if unknown."""
        return max(server.processes or 0, self.running) or None


@dataclass(frozen=True)
class Servers:
    """What serves the ini file at `ini`, or would where nothing was seen running.

    `looked` is whether the processes were looked at. `pooled` says that connections to the database
    stay open between requests, as they do but for SQLite.
    """

    served: tuple[Served, ...]
    cores: float = 1.0
    looked: bool = True
    ini: str = ""
    pooled: bool = False

    @property
    def first(self) -> Server:
        """The server that counts where only one can: one that runs, else the default one."""
        return self.served[0].server

    @property
    def runs(self) -> bool:
        """Whether any was seen running."""
        return any(served.runs for served in self.served)

    @property
    def judged(self) -> tuple[Served, ...]:
        """Those that run; where none does, the default one and those of other programs."""
        return tuple(
            served
            for number, served in enumerate(self.served)
            if served.runs or not number or not served.server.ini_section
        )

    @property
    def confidence(self) -> str:
        """How sure a judgement of them can be."""
        return "high" if self.runs else "low" if self.looked else "medium"

    @property
    def unseen(self) -> str:
        """What to add to what is said of them where they are only configured."""
        return " (configured, not seen running)" if self.looked and not self.runs else ""

    @property
    def processes(self) -> Processes:
        """All processes that serve requests."""
        sizes = [worker.resident / 1e6 for served in self.served for worker in served.workers]
        return Processes(self.cores, len(sizes), sum(sizes) / len(sizes) if sizes else None)

    @property
    def count(self) -> Optional[int]:
        """How many processes serve requests, as seen or as configured; None if unknown."""
        return self.processes.count_for(self.first)

    @property
    def examined(self) -> Examined:
        """All of the servers."""
        return Examined(len(self.served), len(self.served), "server")


@measurement()
def configured_servers(context: Context) -> Servers:
    """Read what the ini file sets up; which of it runs is not known."""
    instance = context.instance
    return _servers(map(Served, configured(instance)), instance, looked=False)


@measurement(seconds=SECONDS)
def servers(context: Context) -> Servers:
    """Look for the processes that serve the ini file, and at the files that set them up."""
    instance = context.instance
    # Only root may look at the sockets of a process that has changed its user.
    owner = account_of(os.geteuid(), os.getegid()) if os.geteuid() != os.getuid() else None
    with as_invoker():
        seen = child.call(look, 5 + context.deadline.left, ini=instance.path, account=owner)
    found = list(grouped(seen, instance))
    if not found:
        apache = (daemon.server for daemon in _apache(seen, instance.path))
        found = list(map(Served, (*configured(instance), *apache)))
    return _servers(found, instance, cores=seen.cores)


def _servers(
    found: Iterable[Served], instance: Instance, cores: float = 1.0, looked: bool = True
) -> Servers:
    pooled = not instance.database_url.startswith("sqlite")
    return Servers(tuple(found), cores, looked, instance.path, pooled)


def configured(instance: Instance) -> Iterator[Server]:
    """Yield the servers of the ini file, the one that is started by default first."""
    yield config.server_of(instance)
    yield from config.other_servers(instance)


def grouped(seen: Seen, instance: Instance) -> Iterator[Served]:
    """Yield each running server of an instance, the processes of one start together."""
    by_pid = {worker.pid: worker for worker in seen.workers}
    trees: dict[int, list[Worker]] = {}
    for worker in seen.workers:
        top = worker
        while top.process.parent in by_pid and _program(by_pid[top.process.parent]) == _program(
            top
        ):
            top = by_pid[top.process.parent]
        trees.setdefault(top.pid, []).append(worker)
    daemons = {found.name: found.server for found in _apache(seen, instance.path)}
    for tree in trees.values():
        yield from _served(tree, seen.texts, instance, daemons)


def _program(worker: Worker) -> str:
    start = server_command.start_of(worker.process.words)
    return start.program if start else ""


def _served(
    tree: Sequence[Worker],
    texts: Mapping[str, str],
    instance: Instance,
    daemons: Mapping[str, Server],
) -> Iterator[Served]:
    start = server_command.start_of(tree[0].process.words)
    assert start
    server: Optional[Server]
    if start.program == "mod_wsgi":
        server = daemons.get(start.section)
    elif start.program == "apache":
        # Its own processes serve requests only where no daemon processes do.
        server = daemons.get("")
    else:
        server = _server(start, tree, texts, instance)
    if server:
        parents = {worker.process.parent for worker in tree}
        masters = tuple(worker for worker in tree if worker.pid in parents)
        workers = tuple(worker for worker in tree if worker.pid not in parents)
        yield Served(server, workers, masters)


def _server(
    start: Start, tree: Sequence[Worker], texts: Mapping[str, str], instance: Instance
) -> Optional[Server]:
    """Return how a command line sets its server up; None for a server of something else."""
    if start.program == "gunicorn":
        own = _by_port(tree, instance) if start.renamed else None
        if start.renamed and os.path.realpath(start.files[0]) != os.path.realpath(instance.path):
            return own
        return own or _gunicorn(start, tree[0].process.directory, texts)
    if start.program == "uwsgi":
        return _uwsgi(start, tree, texts, instance)
    if "use" in start.options:
        return config.server_without_options(start.options["use"])
    return config.named_server(instance, start.section)


def _by_port(tree: Sequence[Worker], instance: Instance) -> Optional[Server]:
    """Return the gunicorn of the ini file that listens where these processes do."""
    ports = {str(port) for worker in tree for port in worker.ports}
    for server in configured(instance):
        bind = server.options.get("bind") or server.options.get("port", "")
        if server.kind == "gunicorn" and bind.rpartition(":")[2] in ports:
            return server
    return None


def _gunicorn(start: Start, directory: str, texts: Mapping[str, str]) -> Server:
    """Return what gunicorn's command line and its own file set; the command line wins."""
    options = dict(start.options)
    if start.renamed:
        # Whether gearbox started it, or a command line that the title has replaced, is not known.
        options["config"] = "not known"
    elif "config" in options:
        text = texts.get(path_in(options["config"], directory), "")
        settings = server_command.python_settings(text) if text else None
        if settings is not None:
            del options["config"]
            options = {**settings, **options}
    return config.gunicorn(options)


def _uwsgi(
    start: Start, tree: Sequence[Worker], texts: Mapping[str, str], instance: Instance
) -> Optional[Server]:
    section = instance.sections.get("uwsgi", {})
    if start.renamed:
        ports = {f":{port}" for worker in tree for port in worker.ports}
        own = any(
            value.partition(";")[0].strip().endswith(tuple(ports))
            for key, value in section.items()
            if ports and (key in config.UWSGI_HTTP or key in ("socket", "uwsgi-socket"))
        )
        return config.uwsgi(section) if own else None
    for name in start.files:
        path = path_in(name, tree[0].process.directory)
        if path in texts:
            return config.uwsgi(
                {**server_command.uwsgi_settings(texts[path]), **start.options}, path
            )
    return config.uwsgi({**section, **start.options})


def _apache(seen: Seen, ini: str) -> Iterator[mod_wsgi.Daemon]:
    """Yield the daemon processes of Apache that run the ini file."""
    wanted = [path for path, text in seen.texts.items() if mod_wsgi.loads(path, text, ini)]
    yield from mod_wsgi.daemons(seen.texts, wanted)
