"""On what file systems the directories are, whether they can be used, and how full they are."""

from __future__ import annotations

from functools import partial
from typing import Iterator, NamedTuple, Optional, Sequence

from kallithea_tune.perf_check.model import Finding, Harm, Severity, check
from kallithea_tune.perf_check.storage.directories import (
    ANSWER_SECONDS,
    Directories,
    Directory,
    directories,
)
from kallithea_tune.system.mounts import MEMORY, NETWORK, Mount
from kallithea_tune.text import shell_word

JUDGEMENT = "our judgement"
# Without these Kallithea cannot work; it makes all others when it first needs them.
ESSENTIAL = ("repositories", "database")
REASONS = {
    "ELOOP": "its symbolic links form a loop",
    "ENOTDIR": "it is not a directory",
    "ENOENT": "it is a symbolic link to nothing",
    "EIO": "its disk reports errors (EIO)",
    "EACCES": "USER may not write there",
    "EPERM": "USER may not write there",
    "EROFS": "its file system is read-only",
    "EDQUOT": "the quota of USER is used up",
    "ESTALE": "its server has re-exported it (ESTALE)",
}
# Mount options that are evidence.
SHOWN_OPTIONS = frozenset(
    ("ro", "sync", "vers", "hard", "soft", "softerr", "nolock", "local_lock")
    + ("lookupcache", "nocto", "nobrl", "cache", "proto")
)


def judge_hung(measured: Directories) -> Iterator[Finding]:
    """Report each mount that hangs once, with the directories below it."""
    by_mount: dict[str, list[str]] = {}
    for name, directory in measured.by_name.items():
        if directory.no_answer:
            by_mount.setdefault(directory.hung_mount, []).append(name)
    for point, names in by_mount.items():
        reason = measured.by_name[names[0]].no_answer
        yield Finding(
            Severity.error,
            f"{point} hangs, and with it {', '.join(names)}",
            subject=point,
            evidence={"said": reason, "holds": names},
            threshold=f"answers within {ANSWER_SECONDS:g} s",
            source=JUDGEMENT,
            remedy="look at the kernel's log (dmesg), the server and the network",
        )


def judge_directory(name: str, directory: Directory, user: str) -> Optional[Finding]:
    """Report why a directory cannot be used; None where it can."""
    path = shell_word(directory.path)
    finding = partial(
        Finding, subject=name, evidence={"path": directory.path}, threshold="can be used"
    )
    code = directory.error or directory.write_error
    reason = REASONS.get(code, code).replace("USER", user)
    if directory.error:
        return finding(Severity.error, f"{name} cannot be used: {reason}", remedy=f"ls -ld {path}")
    if not directory.exists and name in ESSENTIAL:
        return finding(
            Severity.error,
            f"the directory of the {name} does not exist",
            remedy="mount it, or correct the path",
        )
    if not code or code == "ENOSPC":  # STO004 reports a full file system.
        return None
    if code in ("EACCES", "EPERM"):
        return finding(
            Severity.warning,
            f"{name}: {reason}",
            confidence="medium",
            remedy=f"run this as Kallithea's own user, or: ls -ld {path}",
        )
    read_only = "look at the kernel's log (dmesg): errors make file systems read-only"
    return finding(
        Severity.error,
        f"{name} cannot be written: {reason}",
        remedy=read_only if code == "EROFS" else "",
    )


class Problem(NamedTuple):
    """What is wrong with a mount."""

    severity: Severity
    diagnosis: str
    remedy: str
    source: str


def judge_mount(
    mount: Mount, names: Sequence[str], rotational: Optional[bool]
) -> Iterator[Finding]:
    """Judge the type of a file system and its options by the directories `names` on it.

    Yields a finding for each problem, or one that all is well.
    """
    if mount.type in NETWORK:
        problems = list(_network_problems(mount, names))
    else:
        problems = list(_local_problems(mount, names))
    if not problems:
        type = f"{mount.type} of the network" if mount.type in NETWORK else mount.type
        diagnosis = f"{type} on {mount.point} contains {', '.join(names)}"
        problems.append(Problem(Severity.ok, diagnosis, "", JUDGEMENT))
    evidence: dict[str, object] = {"type": mount.type}
    if rotational is not None:
        evidence["rotating"] = rotational
    evidence["holds"] = list(names)
    options = [option for option in mount.options if option.partition("=")[0] in SHOWN_OPTIONS]
    if options:
        evidence["options"] = options
    for problem in problems:
        yield Finding(
            problem.severity,
            problem.diagnosis,
            subject=mount.point,
            evidence=evidence,
            remedy=problem.remedy,
            source=problem.source,
            confidence="medium" if mount.type in NETWORK else "high",
        )


def _fstab(change: str) -> str:
    return f"/etc/fstab: {change}; then umount and mount it"


def _local_problems(mount: Mount, names: Sequence[str]) -> Iterator[Problem]:
    essential = " and ".join(name for name in names if name in ESSENTIAL)
    if mount.type in MEMORY and essential:
        yield Problem(
            Severity.error,
            f"{essential} in memory ({mount.type} on {mount.point}): gone after a restart",
            "move it to a disk",
            "tmpfs(5)",
        )
    elif mount.type == "overlay" and essential:
        yield Problem(
            Severity.warning,
            f"{essential} inside a container's layer, and gone with it ({mount.point})",
            f"keep it in a volume: docker run -v /srv/kallithea:{mount.point} ...",
            JUDGEMENT,
        )
    if mount.option("sync") is not None:
        yield Problem(
            Severity.warning,
            f"{mount.point} is mounted with sync: every write waits for the disk",
            _fstab("without sync"),
            "mount(8)",
        )


def _network_problems(mount: Mount, names: Sequence[str]) -> Iterator[Problem]:
    """Yield what is unsafe where several hosts write."""
    unshared_locks = f"locks on {mount.point} do not reach other hosts: two may write at once"
    if mount.type.startswith("nfs"):
        if mount.option("nolock") is not None or mount.option("local_lock") not in (None, "none"):
            yield Problem(
                Severity.error,
                unshared_locks,
                _fstab("local_lock=none, without nolock"),
                "nfs(5), local_lock and nolock",
            )
        yield from _nfs_problems(mount, "repositories" in names)
    elif mount.option("nobrl") is not None:
        yield Problem(
            Severity.error, unshared_locks, _fstab("without nobrl"), "mount.cifs(8), nobrl"
        )


def _nfs_problems(mount: Mount, has_repositories: bool) -> Iterator[Problem]:
    """Yield what may lose writes or show them late to other hosts."""
    point = mount.point
    if mount.option("soft") is not None or mount.option("softerr") is not None:
        yield Problem(
            Severity.warning,
            f"{point} is mounted soft: a write may get lost when the server is slow",
            _fstab("hard"),
            "nfs(5), soft: silent data corruption",
        )
    if mount.option("nocto") is not None:
        yield Problem(
            Severity.warning,
            f"{point} is mounted with nocto: a push may not be seen by other hosts",
            _fstab("cto"),
            "GitLab's NFS manual, nocto",
        )
    if mount.option("vers") == "4.0":
        yield Problem(
            Severity.warning,
            f"{point} is NFS 4.0, whose clients may keep using stale data",
            _fstab("vers=4.1"),
            "GitLab's NFS manual, vers=4.1",
        )
    if has_repositories and mount.option("lookupcache") not in ("pos", "positive", "none"):
        yield Problem(
            Severity.advice,
            f"{point}: other hosts may see a push late",
            _fstab("lookupcache=positive"),
            "GitLab's NFS manual, lookupcache=positive",
        )


@check(
    "STO003",
    "storage-kind",
    "File systems of the directories",
    measures=(directories,),
    tags=("disk",),
    harm=Harm.access,
)
def kind(measured: Directories) -> Iterator[Finding]:
    """Every directory can be used, on a file system whose type and options are safe for it."""
    if measured.unknown_root:
        reason = f"not measured: {measured.unknown_root}"
        yield Finding(Severity.unknown, reason, subject="repositories")
    yield from judge_hung(measured)
    for name, directory in measured.by_name.items():
        if not directory.no_answer:
            finding = judge_directory(name, directory, measured.user)
            if finding:
                yield finding
    for system in measured.file_systems:
        yield from judge_mount(system.mount, list(system.directories), system.location.rotational)
