"""Finds the connections that several processes of one server hold."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Iterable, Mapping

from kallithea_tune.perf_check.servers.processes import Worker
from kallithea_tune.perf_check.servers.served import Served
from kallithea_tune.system.processes import Socket

# Standard input, output and errors of a service are one connection to the journal.
_STANDARD = frozenset("012")
_JOURNAL = "/run/systemd/"


@dataclass(frozen=True)
class Shared:
    """A connection to `remote`, and the processes that hold it; `workers` serve requests."""

    remote: str
    pids: tuple[int, ...]
    workers: tuple[int, ...]


def shared(served: Served) -> list[Shared]:
    """Return the connections that two or more processes of a server hold.

    Those that a client opened, to a port on which the server listens, are not among them: a worker
    may have inherited one from a master that accepts.
    """
    processes = (*served.masters, *served.workers)
    listening = frozenset(port for process in processes for port in process.ports)
    holders: dict[int, set[int]] = {}
    remotes: dict[int, str] = {}
    for process in processes:
        for connection in _connections(process, listening):
            holders.setdefault(connection.inode, set()).add(process.pid)
            remotes[connection.inode] = connection.remote
    workers = {worker.pid for worker in served.workers}
    return [
        Shared(remotes[inode], tuple(sorted(pids)), tuple(sorted(pids & workers)))
        for inode, pids in sorted(holders.items())
        if len(pids) > 1
    ]


def _connections(process: Worker, listening: frozenset[int]) -> Iterable[Socket]:
    held: Mapping[str, Socket] = process.sockets or {}
    for number, connection in held.items():
        standard = number in _STANDARD or connection.remote.startswith(_JOURNAL)
        accepted = connection.port in listening
        if connection.remote and not (connection.listens or standard or accepted):
            yield connection
