"""Running processes and their sockets, as the kernel lists them in /proc."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import struct
from dataclasses import dataclass
from typing import Iterator, Mapping, Optional

# linux/netlink.h, linux/sock_diag.h, linux/unix_diag.h: dump all Unix sockets with their peers.
_NETLINK_SOCK_DIAG, _BY_FAMILY, _REQUEST_DUMP, _SHOW_PEER = 4, 20, 0x301, 4
_UNIX_DIAG_PEER = 2
_LISTEN, _ESTABLISHED = "0A", "01"
_UNIX_LISTENS, _UNIX_STREAM = 0x10000, "0001"


@dataclass(frozen=True)
class Process:
    """A process: its command line as `words`, its working directory, empty where it is unknown."""

    pid: int
    parent: int
    words: tuple[str, ...]
    directory: str = ""


@dataclass(frozen=True)
class Socket:
    """A socket with its own `port`; `remote` is the other end, as ``10.0.0.1:5432`` or a path."""

    inode: int
    listens: bool
    port: int = 0
    remote: str = ""


def running(uids: frozenset[int]) -> Iterator[Process]:
    """Yield the processes of the users `uids`; kernel threads and zombies have no words."""
    for pid in filter(str.isdigit, os.listdir("/proc")):
        # It may end at any moment.
        with contextlib.suppress(OSError, ValueError, IndexError):
            if _real_uid(pid) in uids:
                words = _read(pid, "cmdline").rstrip("\0").split("\0")
                parent = int(_read(pid, "stat").rpartition(")")[2].split()[1])
                yield Process(int(pid), parent, tuple(filter(None, words)), _directory(pid))


def _read(pid: object, name: str) -> str:
    with open(f"/proc/{pid}/{name}", "rb") as file:
        return file.read(1 << 18).decode("utf-8", "surrogateescape")


def _real_uid(pid: str) -> int:
    # The files in /proc belong to root where a process has changed its user, or asks for it.
    found = re.search(r"^Uid:\t(\d+)", _read(pid, "status"), re.M)
    return int(found[1]) if found else -1


def _directory(pid: str) -> str:
    try:
        return os.readlink(f"/proc/{pid}/cwd")
    except OSError:
        return ""


def threads(pid: int) -> int:
    """Return how many threads a process has, 0 where it has ended."""
    try:
        return len(os.listdir(f"/proc/{pid}/task"))
    except OSError:
        return 0


def memory(pid: int) -> tuple[int, int]:
    """Return the resident and the virtual memory of a process in bytes, 0 where it has ended."""
    try:
        virtual, resident = _read(pid, "statm").split()[:2]
    except (OSError, ValueError):
        return 0, 0
    page = os.sysconf("SC_PAGE_SIZE")
    return int(resident) * page, int(virtual) * page


def open_files_limit(pid: int) -> Optional[int]:
    """Return how many files a process may have open, None without a limit and if unknown."""
    with contextlib.suppress(OSError):
        found = re.search(r"^Max open files\s+(\d+)", _read(pid, "limits"), re.M)
        return int(found[1]) if found else None
    return None


def descriptors(pid: int) -> Mapping[int, str]:
    """Return what the descriptors of a process lead to, as ``socket:[123]`` or a path.

    Raises PermissionError for a process that only root may look at.
    """
    found = {}
    directory = f"/proc/{pid}/fd"
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        for name in os.listdir(directory):
            with contextlib.suppress(FileNotFoundError):
                found[int(name)] = os.readlink(f"{directory}/{name}")
    return found


def inode_of(target: str) -> Optional[int]:
    """Return the number in ``socket:[123]``, None for what is no socket."""
    return int(target[8:-1]) if target.startswith("socket:[") else None


def sockets(pid: int) -> Mapping[int, Socket]:
    """Return by inode the sockets of the network that process `pid` is in.

    TCP sockets that listen or are connected, and Unix stream sockets.
    """
    found: dict[int, Socket] = {}
    for name in ("tcp", "tcp6"):
        with contextlib.suppress(OSError):
            for line in _lines(pid, name):
                local, remote, state, inode = (line[at] for at in (1, 2, 3, 9))
                if state in (_LISTEN, _ESTABLISHED):
                    port = int(local.rpartition(":")[2], 16)
                    listens = state == _LISTEN
                    end = "" if listens else _address(remote)
                    found[int(inode)] = Socket(int(inode), listens, port, end)
    with contextlib.suppress(OSError):
        found.update(_unix(pid))
    return found


def _lines(pid: int, name: str) -> Iterator[list[str]]:
    with open(f"/proc/{pid}/net/{name}", encoding="utf-8", errors="surrogateescape") as file:
        next(file, None)
        for line in file:
            yield line.split()


def _address(text: str) -> str:
    """Return ``127.0.0.1:5432`` for ``0100007F:1538``, of which each word is in native order."""
    address, _, port = text.partition(":")
    words = [int(address[at : at + 8], 16) for at in range(0, len(address), 8)]
    packed = struct.pack(f"={len(words)}I", *words)
    if len(words) == 1:
        return f"{socket.inet_ntop(socket.AF_INET, packed)}:{int(port, 16)}"
    name = socket.inet_ntop(socket.AF_INET6, packed)
    name = name[7:] if name.startswith("::ffff:") and "." in name else f"[{name}]"
    return f"{name}:{int(port, 16)}"


def _unix(pid: int) -> Mapping[int, Socket]:
    paths: dict[int, str] = {}
    listening: set[int] = set()
    connected: set[int] = set()
    for fields in _lines(pid, "unix"):
        if len(fields) >= 7 and fields[4] == _UNIX_STREAM:
            inode = int(fields[6])
            paths[inode] = fields[7] if len(fields) > 7 else ""
            (listening if int(fields[3], 16) & _UNIX_LISTENS else connected).add(inode)
    peers = _unix_peers()
    found = {inode: Socket(inode, True, remote=paths[inode]) for inode in listening}
    for inode in connected:
        # The end that accepted has the path; one that has a path itself is a server's.
        remote = paths.get(peers.get(inode, 0), "")
        found[inode] = Socket(inode, False, remote=remote)
    return found


def _unix_peers() -> Mapping[int, int]:
    """Return the inode of the other end of each Unix socket; /proc does not have it.

    Empty where the kernel does not say, and in another network than ours.
    """
    peers: dict[int, int] = {}
    request = struct.pack(
        "=IHHIIBBHIIIII", 40, _BY_FAMILY, _REQUEST_DUMP, 1, 0, socket.AF_UNIX, 0, 0,
        0xFFFFFFFF, 0, _SHOW_PEER, 0, 0,
    )  # fmt: skip
    with contextlib.suppress(OSError), socket.socket(
        socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_SOCK_DIAG
    ) as diag:
        diag.settimeout(1)
        diag.send(request)
        while _read_peers(diag.recv(1 << 16), peers):
            pass
    return peers


def _read_peers(data: bytes, peers: dict[int, int]) -> bool:
    """Add the peers in one answer of the kernel; return whether another one follows."""
    position = 0
    while position + 16 <= len(data):
        length, kind = struct.unpack_from("=IH", data, position)
        if kind != _BY_FAMILY or length < 32:
            return False
        (inode,) = struct.unpack_from("=I", data, position + 20)
        attribute = position + 32
        while attribute + 4 <= position + length:
            size, name = struct.unpack_from("=HH", data, attribute)
            if name == _UNIX_DIAG_PEER:
                (peers[inode],) = struct.unpack_from("=I", data, attribute + 4)
            attribute += max(4, (size + 3) & ~3)
        position += (length + 3) & ~3
    return position > 0
