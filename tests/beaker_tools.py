"""Real cache and session files: left by the real application, or by Beaker itself in any number."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Mapping

from kallithea_tune.app import beaker_config
from kallithea_tune.app.package import package_directory
from kallithea_tune.config.instance import load

PAGES = ("/", "/hg-one", "/git-one", "/hg-one/feed/atom")
_VISIT = """
import json, sys
from paste.deploy import loadapp
app = loadapp("config:" + sys.argv[1])
from beaker.cache import cache_regions
from webob import Request
answers = [Request.blank(path).get_response(app) for path in sys.argv[2:]]
print(json.dumps({"regions": cache_regions, "statuses": [answer.status_int for answer in answers]}))
"""


def visit(ini: Path, *paths: str) -> Mapping[str, Any]:
    """Have the real application answer GET requests without a cookie; return Beaker's regions as it
    has them.
    """
    said = subprocess.run(
        [sys.executable, "-c", _VISIT, str(ini), *paths],
        cwd=str(ini.parent),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        universal_newlines=True,
    )
    assert said.returncode == 0, said.stderr
    answered = json.loads(said.stdout.splitlines()[-1])
    assert answered["statuses"] == [200] * len(paths)
    regions: Mapping[str, Any] = answered["regions"]
    return regions


def take_data(visited: Path, instance: Path) -> Path:
    """Give `instance` what requests left in `visited`; return its cache_dir."""
    shutil.copytree(str(visited.parent / "data"), str(instance.parent / "data"), dirs_exist_ok=True)
    return instance.parent / "data"


def use_of(word: str) -> beaker_config.Use:
    """Return the caching function of Kallithea whose name holds `word`."""
    (found,) = [use for use in beaker_config.uses([package_directory()]) if word in use.function]
    return found


def fill(
    data_dir: Path,
    namespace: str,
    entries: int,
    size: int,
    key: str = "_get_readme_from_cache r%d README",
) -> Path:
    """Have Beaker write a namespace of `entries` values of `size` letters, every other one expired;
    return its file.
    """
    from beaker.cache import Cache

    cache = Cache(namespace, type="file", data_dir=str(data_dir), expire=604800)
    cache.namespace.acquire_write_lock(replace=True)
    for number in range(entries):
        stored = time.time() - (number % 2) * 1_000_000
        cache.namespace[(key % number).encode()] = (
            stored,
            604800,
            ("%-*d" % (size, number), "README.rst"),
        )
    cache.namespace.release_write_lock()
    return Path(cache.namespace.file)


def fill_readme(ini: Path, entries: int, size: int) -> Path:
    """Fill the README namespace of an instance; return its file."""
    settings = load(str(ini)).settings
    region = beaker_config.regions(settings)["long_term_file"]
    os.makedirs(region["data_dir"], exist_ok=True)
    return fill(Path(region["data_dir"]), use_of("readme").namespace, entries, size)


def listing(directory: Path) -> dict[str, tuple[int, int, int]]:
    """Return inode, size and time of the last change of every file and directory below
    `directory`.
    """
    found = {}
    for folder, folders, names in os.walk(str(directory)):
        for name in folders + names:
            status = os.lstat(os.path.join(folder, name))
            path = os.path.relpath(os.path.join(folder, name), str(directory))
            found[path] = status.st_ino, status.st_size, status.st_mtime_ns
    return found
