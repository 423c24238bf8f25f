"""Up to how many heads of a repository hg can clone and pull: from Kallithea itself, and through
each web server as static-export writes it.

usage: hg_heads.py [HEADS ...]

Real clones, and real pulls of one new head by who has all the others, which send every head
twice. The versions of hg and waitress are those of the Python that runs this.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Iterator, Sequence

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tools")]

import make_instance  # noqa: E402
from servers.application import QUIET, Kallithea, run  # noqa: E402
from servers.site import started, write_public  # noqa: E402

HEADS = (700, 1000, 1500, 1600, 3000, 3100, 3500, 6000)
SERVERS = ("nginx", "apache", "caddy", "haproxy", "lighttpd")
SIZE = 600_000  # bytes, for max_request_header_size


def make_repositories(scratch: Path, ini: Path, heads: Sequence[int]) -> None:
    """Make repositories with so many heads, copies of them, and then one head more in each."""
    for number in heads:
        repository = ini.parent / "repos" / f"heads-{number}"
        run("hg", "init", repository, cwd=scratch)
        run("hg", "debugbuilddag", "+1:r " + "<r+1 " * (number - 1), cwd=repository)
        run("hg", "clone", "-q", "-U", repository, scratch / f"copy-{number}", cwd=scratch)
        run("hg", "update", "-q", "-r", "0", cwd=repository)
        run("hg", "commit", "-q", "-m", "x", "--config", "ui.allowemptycommit=yes", cwd=repository)
    run("kallithea-cli", "repo-scan", "-c", ini, cwd=scratch)


def passes(*words: object) -> bool:
    """Tell whether hg succeeds."""
    result = subprocess.run(
        ["hg", *map(str, words)], env=QUIET, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    return result.returncode == 0


def most(url: str, scratch: Path, heads: Sequence[int]) -> Iterator[str]:
    """Yield the largest number of heads with which a clone passes, and a pull."""
    for kind in ("clone", "pull"):
        largest, refused = 0, 0
        for number in heads:
            source, target = f"{url}/heads-{number}", scratch / "target"
            if kind == "clone":
                passed = passes("clone", "-q", "-U", source, target)
            else:
                shutil.copytree(str(scratch / f"copy-{number}"), str(target))
                passed = passes("-R", target, "pull", "-q", source)
            shutil.rmtree(str(target), ignore_errors=True)
            if not passed:
                refused = number
                break
            largest = number
        yield f"{largest:,}" + (f" (not {refused:,})" if refused else " or more")


def row(name: str, url: str, scratch: Path, heads: Sequence[int]) -> None:
    """Print what passes at `url`."""
    clone, pull = most(url, scratch, heads)
    print(f"{name:<40} {clone:<22} {pull}", flush=True)


def measure(ini: Path, scratch: Path, heads: Sequence[int]) -> None:
    """Print what passes with waitress as it is, then with longer headers and each web server."""
    waitress = "waitress " + version("waitress")
    print("hg {}, {}".format(run("hg", "--version", "-q", cwd=scratch).split()[-1][:-1], waitress))
    print(f"{'':<40} {'clone':<22} pull of one head")
    public = write_public(scratch / "public")
    for setting in ("", f"max_request_header_size = {SIZE}\n"):
        text = ini.read_text()
        ini.write_text(text.replace("[server:main]\n", "[server:main]\n" + setting))
        application = Kallithea(ini)
        try:
            application.start()
            title = " ".join([waitress, setting.strip()]).strip()
            row(title, f"http://127.0.0.1:{application.port}", scratch, heads)
            for name in SERVERS if setting else ():
                server, _ = started(name, public, application)
                try:
                    row("  behind " + name, server.url, scratch, heads)
                finally:
                    server.remove()
        finally:
            application.remove()


def main() -> None:
    """Make the repositories and measure."""
    heads = [int(word) for word in sys.argv[1:]] or HEADS
    scratch = Path(tempfile.mkdtemp())
    try:
        ini = make_instance.make(scratch / "instance", 100, front_end=False)
        make_repositories(scratch, ini, heads)
        measure(ini, scratch, heads)
    finally:
        shutil.rmtree(str(scratch))


if __name__ == "__main__":
    main()
