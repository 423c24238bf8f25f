"""Findings about Git repositories, judged by tables and on real ones."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Mapping, Optional

import pytest
from carry_out import carry_out
from perf_check.repositories.real import bad
from perf_check.repositories.test_survey import in_git

from kallithea_tune.perf_check.model import Severity
from kallithea_tune.perf_check.remedy import steps_of
from kallithea_tune.perf_check.repositories.git import (
    GitRepository,
    LooseObjects,
    Packs,
    Refs,
    Setting,
    examine,
)
from kallithea_tune.perf_check.repositories.git_checks import (
    graph,
    judge_bitmap,
    judge_graph,
    judge_history,
    judge_reader,
    objects,
    refs,
)
from kallithea_tune.perf_check.repositories.git_history import (
    Histories,
    History,
    Source,
    time_histories,
)
from kallithea_tune.perf_check.repositories.git_hooks import GitHooks
from kallithea_tune.perf_check.repositories.leftovers import Leftovers
from kallithea_tune.perf_check.repositories.survey import Survey

TIDY = GitRepository(
    "one", LooseObjects(0, 0), Packs(1, 10, True), Refs(3, 1), GitHooks(None), commit_graph=True
)
TIMED = History("one", revisions=5000, now_ms=70.0, graph_ms=10.0)
LATE = History("one", now_ms=2000.0, late=True)
BAD = History("one", error="fatal: bad object HEAD")


def loose(count: int, **changes: str) -> GitRepository:
    return replace(TIDY, loose=LooseObjects(count, 0), **changes)


def packed(packs: int, loose: int = 0, bitmap: bool = True, size: int = 10) -> GitRepository:
    return replace(TIDY, loose=LooseObjects(loose, 0), packs=Packs(packs, size, bitmap))


def survey(*repositories: GitRepository) -> Survey:
    return Survey("/srv", len(repositories), 0, len(repositories), git=repositories)


def timed(*histories: Optional[History]) -> Histories:
    return Histories(tuple(filter(None, histories)), 1)


@pytest.mark.parametrize(
    "repository, history, severity, words",
    [
        (TIDY, None, Severity.ok, ""),
        (packed(50, loose=6700), None, Severity.ok, ""),
        (loose(6701), None, Severity.advice, "6,701 loose objects in one"),
        (packed(51), None, Severity.advice, "51 packs in one"),
        (loose(20000), TIMED, Severity.warning, "20,000 loose objects in one"),
        (loose(20000), replace(TIMED, now_ms=20.0), Severity.advice, ""),
        (loose(20000), BAD, Severity.advice, ""),
        (loose(9000, gc_log="too many unreachable"), None, Severity.advice, "see gc.log"),
    ],
)
def test_objects_and_packs(
    repository: GitRepository, history: Optional[History], severity: Severity, words: str
) -> None:
    (found,) = objects.judge(survey(repository), timed(history))
    assert found.severity is severity and words in found.diagnosis
    gc = "git -C /srv/one -c gc.cruftPacks=true gc --quiet"
    assert str(found.remedy) == ("" if severity is Severity.ok else gc)


def test_the_gain_is_that_of_two_walks_and_the_worst_repository_comes_first() -> None:
    surveyed = survey(packed(60), replace(loose(20000), name="a b"))
    (found,) = objects.judge(surveyed, timed(replace(TIMED, name="a b")))
    assert found.impact_ms == 120.0 and "and 1 more" in found.diagnosis
    gc = "git -C {} -c gc.cruftPacks=true gc --quiet"
    assert str(found.remedy) == "; ".join([gc.format("'/srv/a b'"), gc.format("/srv/one")])
    assert found.evidence["names"] == ["a b", "one"]


def setting(text: str, file: str = "/srv/one/config") -> Setting:
    name, _, value = text.partition(" = ")
    return Setting(file, name, value)


OWN, HOME = "/srv/one/config", "/home/k/.gitconfig"


@pytest.mark.parametrize(
    "own, shared, stopping",
    [
        ("", "", []),
        ("gc.auto = 0", "", [OWN]),
        ("gc.auto = -1", "", [OWN]),
        ("gc.auto = 1m", "", [OWN]),
        ("gc.auto = 5k", "", []),
        ("receive.autogc = false", "", [OWN]),
        ("receive.autogc = true", "receive.autogc = off", []),
        ("maintenance.auto = no", "", [OWN]),
        ("", "gc.auto = 0", [HOME]),
        ("gc.auto = 0", "gc.auto = 0", [OWN, HOME]),
        ("gc.auto = 6700", "gc.auto = 0", []),
        ("gc.autoPackLimit = 0", "", []),
    ],
)
def test_settings_that_keep_gc_from_starting_are_removed_where_they_are(
    own: str, shared: str, stopping: "list[str]"
) -> None:
    repository = replace(loose(9000), settings=(setting(own),) if own else ())
    surveyed = replace(survey(repository), git_settings=(setting(shared, HOME),) if shared else ())
    (found,) = objects.judge(surveyed, timed())
    *removals, gc = steps_of(found.remedy)
    name = (own or shared).split(" ")[0]
    assert [str(step) for step in removals] == [
        f"git config --file {file} --unset-all {name}" for file in stopping
    ]
    assert str(gc).startswith("git -C /srv/one ")
    assert (f"; {name} = " in found.diagnosis) is bool(stopping)


def test_a_limit_of_packs_counts_where_there_are_many() -> None:
    many = replace(packed(90), settings=(setting("gc.autoPackLimit = 0"),))
    assert len(steps_of(next(iter(objects.judge(survey(many), timed()))).remedy)) == 2


@pytest.mark.parametrize(
    "counts, subjects",
    [
        (Refs(2500, loose=1000), {"": Severity.ok}),
        (Refs(2501, loose=1), {"refs": Severity.advice}),
        (Refs(25_001, loose=1), {"refs": Severity.warning}),
        (Refs(1500, loose=1001), {"loose refs": Severity.advice}),
        (Refs(3000, loose=1001), {"refs": Severity.advice, "loose refs": Severity.advice}),
    ],
)
def test_refs(counts: Refs, subjects: Mapping[str, Severity]) -> None:
    found = refs.judge(survey(replace(TIDY, refs=counts)))
    assert {item.subject: item.severity for item in found} == subjects


WITHOUT = replace(TIDY, commit_graph=False, packs=Packs(1, 5_000_000, True))
SMALL = replace(WITHOUT, packs=Packs(1, 900_000, True))
UNMEASURED = History("one", revisions=9)


@pytest.mark.parametrize(
    "repository, history, severity",
    [
        (TIDY, TIMED, Severity.ok),
        (WITHOUT, replace(TIMED, now_ms=34.9), Severity.ok),
        (WITHOUT, replace(TIMED, now_ms=35.1), Severity.advice),
        (WITHOUT, replace(TIMED, now_ms=261.0), Severity.warning),
        (loose(20000), TIMED, Severity.ok),
        (replace(loose(20000), commit_graph=False), TIMED, Severity.ok),
        (WITHOUT, replace(UNMEASURED, now_ms=149.0), Severity.ok),
        (WITHOUT, replace(UNMEASURED, now_ms=151.0), Severity.advice),
        (WITHOUT, replace(UNMEASURED, now_ms=900.0, start_ms=751.0), Severity.ok),
        (WITHOUT, LATE, Severity.advice),
        (SMALL, LATE, Severity.ok),
        (SMALL, TIMED, Severity.advice),
        (WITHOUT, replace(LATE, start_ms=2000.0), Severity.ok),
        (WITHOUT, BAD, Severity.ok),
    ],
)
def test_a_commit_graph_is_advised_for_what_it_was_measured_to_gain(
    repository: GitRepository, history: History, severity: Severity
) -> None:
    found = judge_graph(survey(repository), timed(history))
    assert found.severity is severity
    if severity > Severity.ok:
        assert str(found.remedy) == "git -C /srv/one commit-graph write --reachable"
        assert (
            (found.impact_ms is None)
            is (history.graph_ms is None)
            is (found.confidence == "medium")
        )


def test_a_history_that_git_cannot_list_is_an_error() -> None:
    (found,) = judge_history(survey(TIDY), timed(BAD, replace(TIMED, name="two")))
    assert (found.severity, found.subject) == (Severity.error, "one")
    assert "bad object HEAD" in found.diagnosis


@pytest.mark.parametrize(
    "history, damaged, severity",
    [
        (replace(BAD, graph_fails=True), "", Severity.error),
        (replace(BAD, graph_fails=True), "objects/info/commit-graph", Severity.error),
        (TIMED, "objects/info/commit-graph", Severity.warning),
        (BAD, "objects/info/commit-graph", Severity.warning),
    ],
)
def test_a_damaged_commit_graph_is_told_from_lost_objects(
    history: History, damaged: str, severity: Severity
) -> None:
    repository = replace(TIDY, leftovers=Leftovers(damaged_graph=damaged))
    (found,) = judge_history(survey(repository), timed(history))
    assert (found.severity, found.subject) == (severity, "damaged")
    assert "commit-graph of one is damaged" in found.diagnosis


def test_without_git_repositories_there_is_nothing_to_judge() -> None:
    assert list(graph.judge(survey(), timed())) == []


@pytest.mark.parametrize(
    "bitmap, size, severity",
    [
        (True, 99_000_000, Severity.ok),
        (False, 49_000_000, Severity.ok),
        (False, 51_000_000, Severity.advice),
    ],
)
def test_a_bitmap_is_advised_for_large_repositories(
    bitmap: bool, size: int, severity: Severity
) -> None:
    found = judge_bitmap(survey(packed(1, bitmap=bitmap, size=size)))
    assert found.severity is severity


@pytest.mark.parametrize(
    "history, severity, cost",
    [
        (None, Severity.ok, None),
        (TIMED, Severity.ok, None),
        (replace(TIMED, waits_ms=(1.0, 4.0, 2.0)), Severity.ok, None),
        (replace(TIMED, waits_ms=()), Severity.ok, None),
        (replace(TIMED, waits_ms=(0.0, 1000.0)), Severity.warning, 1000.0),
    ],
)
def test_waits_of_the_reader(
    history: Optional[History], severity: Severity, cost: Optional[float]
) -> None:
    found = judge_reader(timed(history))
    assert (found.severity, found.impact_ms) == (severity, cost)


def commits(path: Path, count: int, *options: str, branch: str = "big") -> str:
    """Add so many commits to a branch of their own; return the last one."""
    stream = b"".join(
        b"commit refs/heads/%s\ncommitter me <me@example.com> %d +0000\n"
        b"data 1\nx\nM 644 inline a\ndata 4\n%04d\n"
        % (branch.encode(), 1_500_000_000 + number, number)
        for number in range(count)
    )
    git = ["git", "-C", str(path), *options]
    subprocess.run([*git, "fast-import", "--quiet"], input=stream, check=True)
    return in_git(path, "rev-parse", branch).strip()


def test_loose_objects_refs_and_the_setting_are_gone_after_the_remedies(repos: Path) -> None:
    path = repos / "git-one"
    # When no ref reaches them, gc alone keeps them loose for two weeks.
    loose = ("-c", "fastimport.unpackLimit=1000000", "-c", "core.fsync=none")
    last = commits(path, 2300, *loose)
    in_git(path, "update-ref", "-d", "refs/heads/big", last)
    head = in_git(path, "rev-parse", "HEAD").strip()
    tags = "".join(f"create refs/tags/v{number} {head}\n" for number in range(2600))
    in_git(path, "update-ref", "--stdin", input=tags)
    in_git(path, "config", "gc.auto", "0")
    found = bad(objects, repos)[""]
    assert "; gc.auto = 0 there" in found.diagnosis
    loose_refs, many = (bad(refs, repos)[subject] for subject in ("loose refs", "refs"))
    carry_out(loose_refs.remedy, "")
    assert list(bad(refs, repos)) == ["refs"]
    carry_out(found.remedy, "")
    assert not bad(objects, repos)
    config = (path / "config").read_text()
    assert "auto = 0" not in config and "bare = true" in config
    # Only a human can decide on it, by a command that is complete.
    assert isinstance(many.remedy, str) and "2,600 are refs/tags/v*; " in many.remedy
    line = many.remedy[many.remedy.index("git -C") :]
    subprocess.run(["sh", "-c", line], check=True)
    assert not bad(refs, repos)


def test_a_commit_graph_that_a_power_cut_damaged_is_found_and_made_anew(repos: Path) -> None:
    path = repos / "git-one"
    last = commits(path, 500)
    in_git(path, "-c", "commitGraph.generationVersion=1", "commit-graph", "write", "--reachable")
    graph_file = path / "objects" / "info" / "commit-graph"
    graph_file.chmod(0o644)
    content = graph_file.read_bytes()
    half = len(content) // 2
    graph_file.write_bytes(content[:half] + b"\xff" * (half - 30) + content[-30:])
    found = bad(graph, repos)
    assert (found["damaged"].severity, list(found)) == (Severity.error, ["damaged"])
    carry_out(found["damaged"].remedy, "")
    assert not bad(graph, repos)
    in_git(path, "commit-graph", "verify")
    assert in_git(path, "rev-list", "--count", last).strip() == "500"


def test_a_chain_of_commit_graphs_is_examined_as_well(repos: Path) -> None:
    path = repos / "git-one"
    in_git(path, "commit-graph", "write", "--reachable", "--split")
    assert not bad(graph, repos)
    (part,) = (path / "objects" / "info" / "commit-graphs").glob("*.graph")
    part.chmod(0o644)
    # The last byte before the hash: git does not notice.
    part.write_bytes(part.read_bytes()[:-21] + b"\xff" + part.read_bytes()[-20:])
    found = bad(graph, repos)["damaged"]
    carry_out(found.remedy, "")
    assert not bad(graph, repos)


def test_no_commit_graph_is_advised_for_a_git_that_takes_long_to_start(
    repos: Path, tmp_path: Path
) -> None:
    wrapper = tmp_path / "slowgit"
    wrapper.write_text('#!/bin/sh\nsleep 0.4\nexec git "$@"\n')
    wrapper.chmod(0o755)
    (tmp_path / "place").mkdir()
    source = Source("git-one", str(repos / "git-one"), commit_graph=False)
    (history,) = time_histories(
        [source], str(tmp_path / "place"), str(wrapper), "--all", reader="", within=1
    )
    assert history.now_ms and history.now_ms > 400 and history.graph_ms is None
    surveyed = survey(replace(WITHOUT, name="git-one"))
    assert judge_graph(surveyed, timed(history)).severity is Severity.ok


def test_a_commit_graph_and_a_bitmap_are_made_as_advised(tmp_path: Path) -> None:
    path = tmp_path / "one"
    subprocess.run(["git", "init", "-q", "--bare", str(path)], check=True)
    commits(path, 50)
    surveyed = replace(survey(packed(1, bitmap=False, size=60_000_000)), root=str(tmp_path))
    for found in (
        judge_bitmap(surveyed),
        judge_graph(replace(surveyed, git=(WITHOUT,)), timed(TIMED)),
    ):
        assert found.severity > Severity.ok
        carry_out(found.remedy, "")
    repository = examine("one", str(path), float("inf"))
    assert repository.commit_graph and repository.packs.bitmap
