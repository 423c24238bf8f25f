"""Names and texts of strangers reach no terminal, document or generated file as they are: control
characters are escaped, formulas are text for a spreadsheet, commands to be pasted are quoted.
"""

from __future__ import annotations

import csv
import io
import json
import os
import re
import shutil
import sqlite3
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from environment import BIN

# What no output may contain, apart from the newline at the end of a line.
RAW = re.compile(
    "[\x00-\x09\x0b-\x1f\x7f-\x9f\xad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\ud800-\udfff\U000e0000-\U000e007f]"
)
NAMES = (
    b"new\nline",
    b"ends\n",
    b"tab\there",
    b" two  blanks ",
    b"-dash",
    b"--upload-pack=x",
    b"quo'te\"s",
    b"latin\xe9\xff",
    b"x" * 255,
    b"esc\x1b[31mred\x1b]0;title\x07",
    b"c1\xc2\x9b31m",
    "bidi\u202ecod\u2066".encode(),
    "line\u2028separator".encode(),
    b"$(touch pwned)`touch pwned`;touch pwned",
    b"back\\slash\\n",
    b"per%sent%n",
    b"=1+2",
    b"@SUM(A1)",
)
LOST_HEAD = (b"head\x1b[31m\nGIT003 error: forged", b"=cmd|' C calc'!A1")
BRANCH = "refs/heads/$(touch${IFS}pwned);'touched'"
GONE = ("=g\u202e\x1b[31m\x85", "new\nREPO002 error: forged")
AUTHOR = {
    f"GIT_{who}_{what}": f"{what}@example.com"
    for who in ("AUTHOR", "COMMITTER")
    for what in ("NAME", "EMAIL")
}


def _git(path: str, *words: str) -> str:
    return subprocess.run(
        ["git", "-C", path, *words],
        check=True,
        stdout=subprocess.PIPE,
        env={**os.environ, **AUTHOR},
        universal_newlines=True,
    ).stdout.strip()


def _repository(path: str, *refs: str) -> None:
    subprocess.run(["git", "init", "-q", "--bare", "--", path], check=True)
    commit = _git(path, "commit-tree", _git(path, "write-tree"), "-m", "one")
    for ref in refs:
        _git(path, "update-ref", ref, commit)


def _named(directory: Path, name: bytes) -> str:
    return os.path.join(str(directory), os.fsdecode(name))


@pytest.fixture(scope="module")
def planted(pristine: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The ini file of an instance with a repository of each name, broken ones, and such rows."""
    directory = tmp_path_factory.mktemp("hostile") / "instance"
    shutil.copytree(str(pristine), str(directory), symlinks=True)
    repos = directory / "repos"
    for name in NAMES:
        _repository(_named(repos, name), "refs/heads/master")
    for name in LOST_HEAD:
        _repository(_named(repos, name), BRANCH)
    lost = Path(_named(repos, b"lost\x9b\x1b[1m"))
    _repository(str(lost), "refs/heads/master")
    (lost / "objects" / "info" / "alternates").write_bytes(b"/none\x1b[31m\xff\n")
    (repos / "hg-one" / ".hg" / "requires").write_text("revlogv1\nstrange\x1b[31m\n")
    with sqlite3.connect(str(directory / "kallithea.db")) as connection:
        connection.execute(
            "UPDATE ui SET ui_value = ? WHERE ui_section = 'paths'", [str(directory / "repos")]
        )
        for name, gone in zip(("git-two", "hg-two"), GONE):
            connection.execute(
                "UPDATE repositories SET repo_name = ? WHERE repo_name = ?", [gone, name]
            )
        connection.execute('CREATE TABLE "strange\n\x1b[31m\u202e" (id INTEGER PRIMARY KEY)')
    connection.close()
    return directory / "my.ini"


def _run(cwd: Path, *words: object) -> Any:
    """Run gearbox; return status, stdout and stderr, which are UTF-8 without control characters."""
    result = subprocess.run(
        [str(BIN / "gearbox"), *map(str, words)],
        cwd=str(cwd),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        timeout=300,
    )
    out, err = (stream.decode("utf-8") for stream in (result.stdout, result.stderr))
    assert not RAW.search(out) and not RAW.search(err), (out, err)
    return result.returncode, out, err


def _perf_check(ini: Path, *words: object) -> str:
    """Report the repositories that only the database has: that takes no time that may run out."""
    words = ("-c", ini, "--only", "REPO002", *words)
    status, out, err = _run(ini.parent, "perf-check", *words)
    assert (status, err) == (0, "")
    return str(out)


def _broken(ini: Path) -> "list[Any]":
    """Return what REPO003 finds, given the time that a busy machine needs."""
    from kallithea_tune.perf_check.repositories import survey, survey_checks

    url = f"sqlite:///{ini.parent / 'kallithea.db'}"
    return list(survey_checks.broken.judge(survey.survey_here(url, 60)))


def test_the_report_shows_names_in_one_line_and_no_control_character(planted):
    from kallithea_tune.config.instance import load
    from kallithea_tune.perf_check import report, runner, saved_run
    from kallithea_tune.perf_check.results import Place, PlacedRun, Results

    found = [replace(finding, check="REPO003", area="storage") for finding in _broken(planted)]
    run, stream = runner.Run(found, 1.0, ["a\x1b[31m\nb"], ("REPO003",)), io.StringIO()
    report.write_text(run, stream, everything=True)
    text = stream.getvalue()
    assert not RAW.search(text)
    assert r"head\x1b[31m\nGIT003 error: forged" in text and r"Note: a\x1b[31m\nb" in text
    # A line that begins with an id is a finding; none was made by a name.
    assert not re.search(r"^GIT003 error", text, re.M)
    saved = planted.parent / "run.json"
    results = Results((PlacedRun(Place("a\x1b[31m.ini"), run),))
    saved_run.save(results, saved_run.place(str(saved), load(str(planted))))
    assert not RAW.search(saved.read_bytes().decode("utf-8"))
    assert saved_run.compare(saved_run.read(str(saved)), results) == []


def test_the_command_saves_and_compares_names_as_they_are(planted):
    saved = planted.parent / "saved.json"
    assert "\n  do:   restore them" in _perf_check(planted, "--save", saved)
    # On a busy machine one run finds more repositories than the other, but never these.
    changes = _perf_check(planted, "--compare", saved).partition("Since ")[2]
    assert changes and "forged" not in changes


@pytest.mark.parametrize("form", ["json", "yaml", "value", "table", "csv"])
def test_every_format_is_free_of_control_characters(planted, form):
    out = _perf_check(planted, "-f", form, "--column", "check", "--column", "evidence")
    if form in ("json", "yaml"):
        import yaml

        document = (json.loads if form == "json" else yaml.safe_load)(out)
        (names,) = (
            item["evidence"]["names"]
            for item in document
            if item["evidence"]["missing"] == 2
            and set(GONE) & set(item["evidence"].get("names", ()))
        )
        assert tuple(names) == GONE
    elif form == "value":
        assert all(line.startswith("REPO002 registered ") for line in out.splitlines())
    else:
        assert "=g" in out and "forged" in out


def test_a_number_stays_a_number_in_csv():
    from kallithea_tune.cli.format_options import Layout
    from kallithea_tune.cli.output import emit_list

    stream = io.StringIO()
    cells = [
        -5,
        -0.5,
        "-5",
        "+1e9",
        "-5 ms",
        " =1",
        "\uff1d1",
        "\t=1",
        "a\\b",
        None,
        {"n_ms": -3.0},
    ]
    emit_list(Layout("csv"), [str(number) for number in range(len(cells))], [cells], stream)
    assert stream.getvalue().splitlines()[1] == (
        '-5,-0.5,"-5","+1e9","\'-5 ms","\' =1","\'\uff1d1","\\t=1","a\\b","","n -3 ms"'
    )


def test_git_reads_the_history_of_a_repository_of_any_name(planted, tmp_path):
    from kallithea_tune.perf_check.repositories.git_history import Source, time_histories

    repos = planted.parent / "repos"
    sources = [Source(os.fsdecode(name), _named(repos, name), True) for name in NAMES]
    timed = time_histories(sources, str(tmp_path), "git", "--all", "", 60)
    assert [item.name for item in timed] == [source.name for source in sources]
    assert {(item.error, item.revisions) for item in timed} == {("", 1)}


def test_a_repository_of_any_name_is_found_and_well(planted):
    reported = {finding.subject for finding in _broken(planted)}
    assert reported == {"hg-one", os.fsdecode(b"lost\x9b\x1b[1m"), *map(os.fsdecode, LOST_HEAD)}


def test_objects_may_be_borrowed_from_a_directory_of_any_name(planted, tmp_path):
    from kallithea_tune.perf_check.repositories import git

    repos = planted.parent / "repos"
    for number, name in enumerate(NAMES):
        borrower = tmp_path / str(number)
        _repository(str(borrower), "refs/heads/master")
        objects = os.fsencode(os.path.join(_named(repos, name), "objects"))
        quoted = b'"' + b"".join(b"\\%03o" % octet for octet in objects) + b'"\n'
        (borrower / "objects" / "info" / "alternates").write_bytes(quoted)
        assert git.examine("x", str(borrower), float("inf")).refs.count == 1


def test_a_file_that_git_takes_for_no_ref_makes_no_error(planted, tmp_path):
    from kallithea_tune.perf_check.repositories.git_history import Source, time_histories

    _repository(str(tmp_path / "one"), "refs/heads/master", "refs/heads/caf\u2028\xe9")
    heads = tmp_path / "one" / "refs" / "heads"
    for name in ("new\nline", "two words", "a\x1b", "x.lock"):
        (heads / name).write_text((heads / "master").read_text())
    source = Source("one", str(tmp_path / "one"), False)
    (history,) = time_histories([source], str(tmp_path / "s"), "git", "--all", "", 20)
    assert (history.error, history.revisions) == ("", 1)


def test_a_pasted_command_finds_the_repository_and_starts_nothing_else(planted, tmp_path):
    from kallithea_tune.text import printable, shell_word

    for name in NAMES:
        path = _named(planted.parent / "repos", name)
        word = shell_word(path)
        assert printable(word) == word
        shown = subprocess.run(
            f"git -C {word} rev-parse --absolute-git-dir",
            shell=True,
            cwd=str(tmp_path),
            stdout=subprocess.PIPE,
        )
        assert (shown.returncode, shown.stdout) == (0, os.fsencode(path) + b"\n")
    assert os.listdir(str(tmp_path)) == []


def test_the_remedy_for_a_lost_head_works_when_pasted(planted, tmp_path):
    found = {finding.subject: finding for finding in _broken(planted)}
    for name in map(os.fsdecode, LOST_HEAD):
        assert "looks empty" in found[name].diagnosis
        subprocess.run(str(found[name].remedy), shell=True, check=True, cwd=str(tmp_path))
        path = os.path.join(str(planted.parent / "repos"), name)
        assert _git(path, "symbolic-ref", "HEAD") == BRANCH
        _git(path, "symbolic-ref", "HEAD", "refs/heads/none")
    assert os.listdir(str(tmp_path)) == []


@pytest.mark.parametrize("form", [(), ("-f", "json")])
def test_what_a_migration_reports_of_a_database_is_escaped(planted, tmp_path, form):
    target = "sqlite:///%s" % (tmp_path / "new.db")
    status, out, err = _run(tmp_path, "db-migrate", "-c", planted, "--to", target, "-n", *form)
    # No model has the table.
    assert status == 3 and "strange" in out
    assert r"strange\n\x1b[31m\u202e" in err
    assert json.loads(out) if form else r"strange\n\x1b[31m\u202e" in out


def test_errors_show_what_was_given_in_one_line(tmp_path):
    strange = tmp_path / "a\n\x1b[31m\x9b.ini"
    for words in (["perf-check"], ["static-export", "x"], ["db-migrate", "--to", "sqlite:////x"]):
        status, _, err = _run(tmp_path, "--log-file", "log", *words, "-c", strange)
        assert status == 2 and err.count("\n") == 1
        assert err.endswith(r"/a\n\x1b[31m\x9b.ini does not exist" + "\n")
        assert not RAW.search((tmp_path / "log").read_text())
    status, _, err = _run(tmp_path, "perf-check", "--fail-on", "\x1b[31m", "-c", strange)
    assert status == 2 and "invalid choice" in err
    status, _, err = _run(tmp_path, "--debug", "perf-check", "-c", strange)
    assert status == 2 and "Traceback" in err


@pytest.mark.parametrize("snippet", [True, False])
@pytest.mark.parametrize("server", ["nginx", "apache", "caddy", "lighttpd", "haproxy"])
def test_no_control_character_reaches_a_configuration(server, snippet):
    from kallithea_tune.errors import ConfigError
    from kallithea_tune.static_export.webservers import render
    from kallithea_tune.static_export.webservers.site import Backend, Site

    backend = Backend("127.0.0.1", 5000)
    site = Site("/srv/static", ["css"], ["robots.txt"], [], [backend], script="/etc/x.lua")
    render(server, site, snippet)
    for name, value in vars(site).items():
        spoiled = {str: "a\n}\x9b", int: None, bool: None}.get(type(value), ["a\u202e"])
        if name in ("backends", "vcs"):
            spoiled = [Backend("a\r\nb", 5000)]
        if spoiled is not None:
            with pytest.raises(ConfigError, match="has a control character"):
                render(server, replace(site, **{name: spoiled}), snippet)


def test_an_export_refuses_or_escapes_what_it_was_given(planted, front_end, tmp_path):
    overlay = tmp_path / "theme\x1b[31m\n"
    overlay.mkdir()
    (overlay / "=robots.txt").write_text("")
    words = ["static-export", "-c", planted, tmp_path / "static", "-n", "--overlay", front_end]
    status, out, err = _run(tmp_path, *words, "--overlay", overlay, "-f", "csv")
    assert (status, err) == (0, "")
    assert any(row["path"] == "'=robots.txt" for row in csv.DictReader(io.StringIO(out)))
    status, out, err = _run(tmp_path, *words, "--server", "nginx", "--prefix", "/a\n}evil")
    assert (status, out) == (2, "") and r"--prefix '/a\n}evil' is not" in err.splitlines()[-1]
    (overlay / "a\x9b.css").write_text("")
    status, out, err = _run(tmp_path, *words, "--overlay", overlay)
    assert (status, out) == (3, "") and r"'a\x9b.css' below" in err.splitlines()[-1]
    assert not (tmp_path / "static").exists()


def test_a_line_of_progress_obeys_nobody(monkeypatch):
    from kallithea_tune.cli.progress import Progress
    from kallithea_tune.db_migrate.progress import ProgressBars, StatusLine, StepLines

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    stream = Terminal()
    monkeypatch.setattr("sys.stderr", stream)
    Progress(True)("summary of a\n\x1b[31m", 1, 2)
    for shown in (StatusLine(stream), StepLines(stream), ProgressBars(stream)):
        shown.begin("copying \x1b[32m", 2)
        shown.advance(1, "b\x1b[33m", 1)
        shown.end()
    drawn = stream.getvalue()
    # Our own: they clear the line, and tqdm moves between its two.
    assert not RAW.search(re.sub("\r|\x1b\\[[KA]", "", drawn)) and r"\x1b[31m" in drawn


def test_text_is_shown_escaped_and_lines_stay_where_they_are_meant():
    from kallithea_tune.text import plain, printable

    every = "".join(map(chr, range(0x250))) + "\u2028\u202e\u2069\ufeff\udcff\ud800\U000e0041"
    assert not RAW.search(printable(every).replace("\n", "\t"))
    assert printable("a\x1b\x9b\u202e\udcff\n\t") == r"a\x1b\x9b\u202e\xff\n\t"
    assert printable("a\x1b\r\n\tb\rc\n", lines=True) == "a\\x1b\r\n\tb\\rc\n"
    assert printable("\u0142\u3000 \u00e9") == "\u0142\u3000 \u00e9"
    assert json.dumps(plain({"\udcff": ["\ud800"]})) == r'{"\\xff": ["\\ud800"]}'
