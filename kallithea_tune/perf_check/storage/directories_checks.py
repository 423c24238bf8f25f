"""On what file systems the directories are, whether they can be used, and how full they are."""

from __future__ import annotations

import contextlib
import dataclasses
import getpass
import os
from typing import Any, Iterator, Mapping, NamedTuple, Sequence, Tuple

from kallithea_tune.errors import NotMeasured, TuneError
from kallithea_tune.perf_check.measurement import Context
from kallithea_tune.perf_check.model import Finding, Severity, check
from kallithea_tune.perf_check.repositories.root import repositories_root
from kallithea_tune.perf_check.storage import directories
from kallithea_tune.perf_check.storage.directories import ESSENTIAL, Place
from kallithea_tune.system.mounts import MEMORY, NETWORK, Mount
from kallithea_tune.text import megabytes

JUDGEMENT = "our judgement"
SECONDS = 0.5
# A disk under heavy load may keep one operation waiting this long; beyond it, whatever serves from
# there stands still.
PATIENCE = 3.0
GB = 1e9


class Group(NamedTuple):
    """Directories on the same file system: what is measured for one holds for all.

    `mount` is that of the most important of them; bind mounts and subvolumes of btrfs are the same
    file system.
    """

    mount: Mount
    places: Mapping[str, Place]

    def named(self, found: Finding, prefix: str = "") -> Finding:
        """Return the finding with the mount point as its subject."""
        return dataclasses.replace(found, subject=prefix + self.mount.point)

    @property
    def writable(self) -> str:
        """The path of the most important directory that takes files. Raises NotMeasured where none
        does.
        """
        for place in self.places.values():
            if not place["write_error"]:
                return str(place["real"])
        raise NotMeasured(f"nothing can be written on {self.mount.point}")


def places(context: Context) -> dict[str, Place]:
    """Return what is to be known of each directory, looked at once in a run; the most important
    first.
    """

    def look() -> dict[str, Place]:
        wanted: dict[str, str] = {}
        with contextlib.suppress(NotMeasured, TuneError):  # STO003 says so.
            wanted["repositories"] = root(context)
        wanted.update(directories.configured(context.instance))
        return directories.look(wanted, PATIENCE)

    found: dict[str, Place] = context.once("directories", look)
    return found


def root(context: Context) -> str:
    """Return the directory of the repositories, asked for once in a run."""
    found: str = context.measure(repositories_root).path
    return found


def groups(context: Context) -> list[Group]:
    """Return the directories that answered, by file system (by its device in the table of
    mounts).
    """
    found: dict[str, dict[str, Place]] = {}
    for name, place in places(context).items():
        if place.get("mount"):
            found.setdefault(place["mount"]["device"], {})[name] = place
    return [
        Group(Mount(**next(iter(members.values()))["mount"]), members) for members in found.values()
    ]


WORDS = {
    "ELOOP": "its symbolic links lead round in a circle",
    "ENOTDIR": "it is not a directory",
    "ENOENT": "it is a symbolic link to nothing",
    "EIO": "its disk fails (EIO)",
    "EACCES": "USER may not write there",
    "EPERM": "USER may not write there",
    "EROFS": "its file system is read-only",
    "EDQUOT": "the quota of USER is used up",
    "ESTALE": "its server has exported it anew (ESTALE)",
}


def judge_silent(found: Mapping[str, Place]) -> list[Finding]:
    """Say once for each mount that it hangs, and which directories do with it."""
    hung: dict[str, list[str]] = {}
    for name, place in found.items():
        if "silent" in place:
            hung.setdefault(place["point"], []).append(name)
    return [
        Finding(
            Severity.error,
            "{} hangs, and with it {}".format(point, ", ".join(names)),
            subject=point,
            evidence={"said": found[names[0]]["silent"], "holds": names},
            threshold=f"answers within {PATIENCE:g} s",
            source=JUDGEMENT,
            remedy="look at the kernel's log (dmesg), the server and the network",
        )
        for point, names in hung.items()
    ]


def judge_place(name: str, place: Place, user: str) -> list[Finding]:
    """Say why a directory cannot be used; nothing where it can."""
    path = place["path"]
    common: dict[str, Any] = {
        "subject": name,
        "evidence": {"path": path},
        "threshold": "can be used",
    }
    said: str = place["error"] or place["write_error"]
    why = WORDS.get(said, said).replace("USER", user)
    if place["error"]:
        return [
            Finding(
                Severity.error, f"{name} cannot be used: {why}", remedy=f"ls -ld {path}", **common
            )
        ]
    if not place["exists"] and name in ESSENTIAL:
        return [
            Finding(
                Severity.error,
                f"the directory of the {name} does not exist",
                remedy="mount it, or correct the path",
                **common,
            )
        ]
    if not said or said == "ENOSPC":
        return []
    if said in ("EACCES", "EPERM"):
        return [
            Finding(
                Severity.warning,
                f"{name}: {why}",
                confidence="medium",
                remedy=f"run this as Kallithea's own user, or: ls -ld {path}",
                **common,
            )
        ]
    remedy = "look at the kernel's log (dmesg): errors make file systems read-only"
    return [
        Finding(
            Severity.error,
            f"{name} cannot be written: {why}",
            remedy=remedy if said == "EROFS" else "",
            **common,
        )
    ]


# Severity, sentence with a place for the mount point, remedy, source.
Wrong = Tuple[Severity, str, str, str]
FSTAB = "/etc/fstab: %s; then umount and mount it"


def judge_mount(mount: Mount, names: Sequence[str], rotating: object) -> list[Finding]:
    """Judge the kind of file system and its options by what `names` need; one good finding, or what
    is wrong.
    """
    kept = " and ".join(name for name in names if name in ESSENTIAL)
    wrong: list[Wrong] = []
    if mount.type in NETWORK:
        wrong += _network(mount, names)
    elif mount.type in MEMORY and kept:
        wrong.append(
            (
                Severity.error,
                f"{kept} in memory ({mount.type} on %s): gone after a restart",
                "move it to a disk",
                "tmpfs(5)",
            )
        )
    elif mount.type == "overlay" and kept:
        wrong.append(
            (
                Severity.warning,
                f"{kept} inside a container's layer, and gone with it (%s)",
                f"keep it in a volume: docker run -v /srv/kallithea:{mount.point} ...",
                JUDGEMENT,
            )
        )
    if mount.option("sync") is not None and mount.type not in NETWORK:
        wrong.append(
            (
                Severity.warning,
                "%s is mounted with sync: every write waits for the disk",
                FSTAB % "without sync",
                "mount(8)",
            )
        )
    if not wrong:
        where = "%s of the network" if mount.type in NETWORK else "%s"
        wrong.append(
            (Severity.ok, where % mount.type + " on %s holds " + ", ".join(names), "", JUDGEMENT)
        )
    evidence: dict[str, Any] = {
        "type": mount.type,
        "rotating": rotating,
        "holds": list(names),
        "options": [option for option in mount.options if option.partition("=")[0] in TOLD],
    }
    evidence = {key: value for key, value in evidence.items() if value not in (None, [])}
    return [
        Finding(
            severity,
            said % mount.point,
            evidence=evidence,
            remedy=remedy,
            source=source,
            confidence="medium" if mount.type in NETWORK else "high",
        )
        for severity, said, remedy, source in wrong
    ]


TOLD = frozenset(
    {
        "ro",
        "sync",
        "vers",
        "hard",
        "soft",
        "softerr",
        "nolock",
        "local_lock",
        "lookupcache",
        "nocto",
        "nobrl",
        "cache",
        "proto",
    }
)


def _network(mount: Mount, names: Sequence[str]) -> Iterator[Wrong]:
    """Yield what is unsafe where several hosts write."""

    def has(name: str) -> bool:
        return mount.option(name) is not None

    alone = "locks on %s do not reach other hosts: two may write at once"
    if not mount.type.startswith("nfs"):
        if has("nobrl"):
            yield Severity.error, alone, FSTAB % "without nobrl", "mount.cifs(8), nobrl"
        return
    if has("nolock") or mount.option("local_lock") not in (None, "none"):
        yield (
            Severity.error,
            alone,
            FSTAB % "local_lock=none, without nolock",
            "nfs(5), local_lock and nolock",
        )
    if has("soft") or has("softerr"):
        yield (
            Severity.warning,
            "%s is mounted soft: a write may get lost when the server is slow",
            FSTAB % "hard",
            "nfs(5), soft: silent data corruption",
        )
    if has("nocto"):
        yield (
            Severity.warning,
            "%s is mounted with nocto: a push may not be seen by other hosts",
            FSTAB % "cto",
            "GitLab's NFS manual, nocto",
        )
    if mount.option("vers") == "4.0":
        yield (
            Severity.warning,
            "%s is NFS 4.0, whose clients may go on with stale data",
            FSTAB % "vers=4.1",
            "GitLab's NFS manual, vers=4.1",
        )
    if "repositories" in names and mount.option("lookupcache") not in ("pos", "positive", "none"):
        yield (
            Severity.advice,
            "%s: other hosts may see a push late",
            FSTAB % "lookupcache=positive",
            "GitLab's NFS manual, lookupcache=positive",
        )


@check(
    "STO003",
    "storage-kind",
    "File systems of the directories",
    "storage",
    seconds=SECONDS,
    shares="directories",
    writes="a file without a name in each directory",
    tags=("disk",),
)
def kind(context: Context) -> Iterator[Finding]:
    """Look where each directory leads, on which mount it is (proc(5), mountinfo), and whether a
    file can be made there.

    The file never gets a name (open(2), O_TMPFILE), so nothing can be left behind; where the file
    system knows no such files (NFS) it has a name for a moment. A directory that hangs, cannot be
    used or written, or leads round in a circle is an error; the others are looked at all the same.
    So is a network file system that keeps locks to its own host (nolock, local_lock, nobrl), and
    repositories or an SQLite file in memory. Warnings: soft, nocto and NFS 4.0 (GitLab's NFS
    manual, nfs(5)), sync, a container's own layer.

    Which directories share a device is shown; what STO001 and STO002 measure holds for all of them.
    """
    try:
        root(context)
    except (NotMeasured, TuneError) as error:
        yield Finding(Severity.unknown, f"not measured: {error}", subject="repositories")
    user = getpass.getuser() if os.geteuid() else "root"
    yield from judge_silent(places(context))
    for name, place in places(context).items():
        if "silent" not in place:
            yield from judge_place(name, place, user)
    for group in groups(context):
        rotating = next(iter(group.places.values()))["rotational"]
        for found in judge_mount(group.mount, list(group.places), rotating):
            yield group.named(found)


def judge_space(place: Place, point: str) -> Finding:
    """Judge what is free for users other than root: the worse of space and inodes."""
    size, free, inodes, free_inodes = (
        place[name] for name in ("size", "free", "inodes", "free_inodes")
    )
    if not size:
        return Finding(Severity.ok, f"{point} does not say what is free")
    evidence: dict[str, Any] = {"size_gb": size / GB}
    if inodes:
        evidence.update(free_inodes=free_inodes, inodes=inodes)
    common: dict[str, Any] = {
        "evidence": evidence,
        "source": JUDGEMENT,
        "threshold": "10 % free, or 50 GB",
    }
    said = f"{100 * free / size:.2g} % of {point} is free: {megabytes(free)}"
    remedy = "see STO005 and CAC003 for what may go; else a larger disk"
    for severity, share, space, files in LIMITS:
        if inodes and free_inodes < share * inodes and free_inodes < files:
            return Finding(
                severity,
                "%.2g %% of the inodes of %s are free: room for %d files"
                % (100 * free_inodes / inodes, point, free_inodes),
                remedy=remedy,
                **dict(common, threshold="10 % free, or 500000"),
            )
        if (free < share * size and free < space) or (
            place["write_error"] == "ENOSPC" and severity is Severity.error
        ):
            return Finding(severity, said, remedy=remedy, **common)
    return Finding(Severity.ok, said, **common)


# Severity, and of what is free the share, bytes and inodes below all of which it is given: our
# judgement.
LIMITS = ((Severity.error, 0.02, 5 * GB, 50_000), (Severity.warning, 0.10, 50 * GB, 500_000))


@check(
    "STO004",
    "storage-space",
    "Free space and inodes",
    "storage",
    seconds=SECONDS,
    shares="directories",
    tags=("disk",),
)
def space(context: Context) -> Iterator[Finding]:
    """Ask each file system that holds a directory what is free (statvfs(3)): blocks for other users
    than root, inodes.

    Less than 10 % and less than 50 GB (or 500,000 inodes) is a warning, less than 2 % and 5 GB
    (50,000 inodes) an error: our judgement. A small share of a very large disk is no reason to
    worry. Quotas of a user are not seen here.
    """
    for group in groups(context):
        yield group.named(judge_space(next(iter(group.places.values())), group.mount.point))
