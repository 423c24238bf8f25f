"""The options for output as rows are cliff's, and do what they do there."""

from __future__ import annotations

import argparse
import csv
import io
import json

import pytest

from kallithea_tune.cli.format_options import FORMATS, QUOTES, Layout, add_format_options, layout
from kallithea_tune.cli.output import emit_list
from kallithea_tune.errors import ConfigError

COLUMNS = ("check", "seconds", "remedy")
ROWS = (("B", 2.5, "a, b"), ("A", None, "c"), ("C", 10, ""))


def printed(*words, rows=ROWS, essential=()):
    parser = argparse.ArgumentParser()
    add_format_options(parser)
    stream = io.StringIO(newline="")
    emit_list(layout(parser.parse_args(words)), COLUMNS, rows, stream, essential)
    return stream.getvalue()


def options_of(parser):
    """Each option with its choices, and whether a value goes with it."""
    return {
        option: (sorted(action.choices or ()), action.nargs == 0)
        for action in parser._actions
        for option in action.option_strings
        if option.startswith("--")
    }


def test_the_options_are_those_of_cliff():
    from cliff.lister import Lister

    class Rows(Lister):
        def take_action(self, parsed_args):
            """Never called."""

    ours = argparse.ArgumentParser()
    add_format_options(ours)
    theirs = Rows(None, None).get_parser("rows")
    assert options_of(ours) == options_of(theirs)
    assert set(QUOTES) == set(options_of(theirs)["--quote"][0])
    assert set(FORMATS) == set(options_of(theirs)["--format"][0])
    # -c is the ini file.
    short = {option for action in ours._actions for option in action.option_strings}
    assert {option for option in short if not option.startswith("--")} == {"-h", "-f"}


@pytest.mark.parametrize(
    "words, order",
    [
        ([], "BAC"),
        (["--sort-column", "check"], "ABC"),
        (["--sort-column", "check", "--sort-ascending"], "ABC"),
        (["--sort-column", "check", "--sort-descending"], "CBA"),
        # By size, not as text; what is unknown last.
        (["--sort-column", "seconds"], "BCA"),
        (["--sort-column", "remedy"], "CBA"),
    ],
)
def test_rows_are_sorted_by_a_column_that_need_not_be_printed(words, order):
    assert printed("-f", "value", "--column", "check", *words).split() == list(order)


def test_the_first_of_several_columns_counts_most():
    rows = [("B", 1, "x"), ("A", 2, "x"), ("A", 1, "y")]
    words = ["-f", "value", "--sort-column", "check", "--sort-column", "seconds"]
    assert printed(*words, rows=rows).splitlines() == ["A 1 y", "A 2 x", "B 1 x"]


def test_a_column_to_sort_by_has_to_exist(gearbox, tmp_path):
    result = gearbox("perf-check", "--list", "--sort-column", "colour", cwd=str(tmp_path))
    assert (result.returncode, result.stdout) == (2, "")
    assert "there is no column 'colour'; the columns are check, area" in result.stderr


def test_json_is_on_one_line_without_indents():
    assert printed("-f", "json").count("\n") > 10
    line = printed("-f", "json", "--noindent")
    assert line.count("\n") == 1 and [one["check"] for one in json.loads(line)] == ["B", "A", "C"]


@pytest.mark.parametrize(
    "quote, first",
    [
        ("all", '"B","2.5","a, b"'),
        ("minimal", 'B,2.5,"a, b"'),
        ("nonnumeric", '"B",2.5,"a, b"'),
        ("none", r"B,2.5,a\, b"),
    ],
)
def test_csv_is_quoted_as_asked_and_read_again(quote, first):
    text = printed("-f", "csv", "--quote", quote)
    assert text.splitlines()[1] == first
    mode = csv.QUOTE_NONE if quote == "none" else csv.QUOTE_MINIMAL
    escape = "\\" if quote == "none" else None
    read = list(csv.reader(io.StringIO(text, newline=""), quoting=mode, escapechar=escape))
    assert [row[2] for row in read] == ["remedy", "a, b", "c", ""]


def test_what_csv_cannot_have_without_quotes_is_one_sentence():
    with pytest.raises(ConfigError, match="--quote none cannot write a cell: "):
        printed("-f", "csv", "--quote", "none", "--column", "remedy")


def test_a_table_is_as_wide_as_asked(monkeypatch):
    monkeypatch.delenv("CLIFF_MAX_TERM_WIDTH", raising=False)
    rows = [("A", 1, "many words " * 20)]

    def width(*words, **more):
        return max(map(len, printed(*words, rows=rows, **more).splitlines()))

    assert width() <= 80 and width("-f", "table", essential=COLUMNS) <= 80
    assert width("-f", "table") > 200
    assert width("-f", "table", "--max-width", "60") <= 60
    assert 80 < width("--max-width", "120") <= 120
    assert width("--max-width", "0") > 200
    monkeypatch.setenv("CLIFF_MAX_TERM_WIDTH", "70")
    assert width("-f", "table") <= 70


def test_an_empty_table_has_its_head_where_that_is_asked_for():
    assert printed("-f", "table", rows=[]).strip() == ""
    assert "seconds" in printed("-f", "table", "--print-empty", rows=[])


def test_options_of_other_formats_change_nothing():
    words = ["--noindent", "--quote", "all", "--max-width", "40", "--print-empty", "--fit-width"]
    assert printed("-f", "yaml", *words) == printed("-f", "yaml")
    assert Layout().words == []


def test_a_command_passes_them_on(gearbox, tmp_path):
    words = ["--sort-column", "check", "--sort-descending", "--noindent", "-f", "json"]
    result = gearbox("perf-check", "--list", "--only", "STO*", *words, cwd=str(tmp_path))
    assert (result.returncode, result.stderr, result.stdout.count("\n")) == (0, "", 1)
    found = [one["check"] for one in json.loads(result.stdout)]
    assert len(found) > 5 and found == sorted(found, reverse=True)
