"""The seal of a release: what every file of it contained, and how to see that nothing happened.

The kernel sets a file's change time (ctime) to its own clock whenever content, mode, owner or name
change, and nobody else can set it. A file that still has its inode and change time needs no
reading. Links made and removed by our own later runs change it, too; then the content is compared.
"""

from __future__ import annotations

import json
import os
from typing import Mapping, NamedTuple

from kallithea_tune.static_export.release.manifest import SEAL_NAME, Manifest
from kallithea_tune.static_export.sources.collect import file_sha256
from kallithea_tune.system import files


class Sealed(NamedTuple):
    """A file when it was published; `ctime_ns` is 0 where it would prove nothing."""

    sha256: str
    inode: int
    ctime_ns: int

    def proves(self, status: os.stat_result) -> bool:
        """Whether nothing can have happened to the file since, given its status now."""
        return self.ctime_ns != 0 and (self.inode, self.ctime_ns) == (
            status.st_ino,
            status.st_ctime_ns,
        )


Seal = Mapping[str, Sealed]


def read(directory: str) -> Seal:
    """Return the seal of the release in `directory`, by path; empty without a usable one."""
    try:
        with files.opened(directory, SEAL_NAME) as file:
            document = json.load(file)
        return {
            name: Sealed(str(sha256), int(inode), int(ctime_ns))
            for name, (sha256, inode, ctime_ns) in document.items()
        }
    except (OSError, files.Broken, ValueError, TypeError, AttributeError):
        return {}


def taken(release: Manifest, directory: str, began_ns: int) -> Seal:
    """Seal the complete release in `directory`.

    `began_ns` is the time by the clock of its file system, taken before this call. What was changed
    in the same tick could be changed once more without showing it, so that is not trusted.
    """
    content = {path: item.file.sha256 for path, item in release.files.items()}
    for variant in release.variants():
        content[variant.name] = file_sha256(os.path.join(directory, variant.name))
    content.update((name, content[beside]) for name, beside in release.lasting.items())
    seal = {}
    for name, sha256 in content.items():
        status = os.stat(os.path.join(directory, name))
        ctime_ns = status.st_ctime_ns if status.st_ctime_ns < began_ns else 0
        seal[name] = Sealed(sha256, status.st_ino, ctime_ns)
    return seal


def text(seal: Seal) -> str:
    """Return the seal as its file contains it."""
    return json.dumps(seal, indent=0)
