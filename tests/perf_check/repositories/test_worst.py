"""The repositories whose pages have the most to do are found among real ones, which stay as they
are.
"""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Sequence

import pytest
from perf_check.repositories.test_survey import ENVIRONMENT, HG, in_git, listing, run

from kallithea_tune.config.instance import load
from kallithea_tune.perf_check.measurement import Context, Deadline
from kallithea_tune.perf_check.repositories.discovery import Kind
from kallithea_tune.perf_check.repositories.worst import Extreme, Worst, summed_up, worst


def found(ini: Path) -> Worst:
    return Context(load(str(ini)), Deadline(60)).measure(worst)


def commit_to_git(path: Path, files: "dict[str, int]") -> None:
    """Have the branch at HEAD consist of `files` of so many bytes."""
    branch = in_git(path, "symbolic-ref", "HEAD").strip()
    stream = b"commit %s\ncommitter me <me@example.com> 1600000000 +0000\ndata 1\nx\n" % (
        branch.encode()
    )
    for name, size in files.items():
        stream += b"M 644 inline %s\ndata %d\n%s\n" % (name.encode(), size, b"x" * size)
    subprocess.run(
        ["git", "-C", str(path), "fast-import", "--quiet", "--force"],
        input=stream,
        env=ENVIRONMENT,
        check=True,
    )


def test_each_extreme_is_found_and_nothing_is_changed(instance: Path) -> None:
    repos = instance.parent / "repos"
    commit_to_git(repos / "git-one", {f"a/b/{number}": 1 for number in range(40)})
    for number in range(30):
        in_git(repos / "git-two", "update-ref", f"refs/tags/{number}", "HEAD")
    (repos / "hg-one" / "README.rst").write_bytes(b"x" * 5000)
    run(HG, "-R", repos / "hg-one", "commit", "-qAm", "Add a README")
    before = listing(repos)
    extremes = found(instance)
    assert extremes.directory == Extreme("git-one", Kind.git, 40, "a/b")
    assert extremes.readme == Extreme("hg-one", Kind.hg, 5000, "README.rst")
    assert extremes.refs and extremes.refs.name == "git-two" and extremes.refs.size > 30
    assert extremes.revisions and extremes.revisions.name.startswith("hg-")
    assert extremes.examined.complete and extremes.total == 4
    assert listing(repos) == before


def test_the_readme_of_git_and_the_directory_of_mercurial_count_as_well(instance: Path) -> None:
    repos = instance.parent / "repos"
    commit_to_git(repos / "git-two", {"README.md": 6000, "other": 9000})
    wide = repos / "hg-two" / "wide"
    wide.mkdir()
    for number in range(50):
        (wide / str(number)).write_text("x")
    run(HG, "-R", repos / "hg-two", "commit", "-qAm", "Add files")
    extremes = found(instance)
    assert extremes.directory == Extreme("hg-two", Kind.hg, 50, "wide")
    assert extremes.readme == Extreme("git-two", Kind.git, 6000, "README.md")


def test_a_repository_that_cannot_be_read_counts_as_not_examined(instance: Path) -> None:
    path = instance.parent / "repos" / "git-one"
    for pack in (path / "objects" / "pack").glob("*"):
        pack.unlink()
    for fan_out in (path / "objects").glob("??"):
        for item in fan_out.iterdir():
            item.unlink()
    examined = found(instance).examined
    assert (examined.count, examined.total) == (3, 4)


def test_a_readme_that_is_lost_does_not_hide_the_other_repositories(instance: Path) -> None:
    for name in ("hg-one", "hg-two"):
        for file in (instance.parent / "repos" / name / ".hg" / "store" / "data").glob("*.i"):
            file.unlink()
    extremes = found(instance)
    assert (extremes.examined.count, extremes.examined.total) == (2, 4)
    assert extremes.directory and extremes.directory.name.startswith("git-")


@pytest.mark.parametrize(
    "files,readme,directory,entries",
    [
        ([], "", "", 0),
        (["a"], "", "", 1),
        (["README", "readme.md", "docs/README.rst"], "readme.md", "", 3),
        (["docs/README.rst", "x/README.rst"], "docs/README.rst", "", 2),
        (["README.pdf", "a/1", "a/2", "a/3"], "", "a", 3),
        (["d/1/x", "d/2/x", "d/3/x", "e"], "", "d", 3),
    ],
)
def test_what_counts_as_readme_and_how_wide_a_directory_is(
    files: Sequence[str], readme: str, directory: str, entries: int
) -> None:
    contents = summed_up("it", Kind.git, files, len)
    assert (contents.readme, contents.directory, contents.entries) == (readme, directory, entries)
    assert contents.readme_bytes == len(readme)
