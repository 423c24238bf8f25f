"""Whether a page became slower: judged from times alone."""

from __future__ import annotations

import pytest

from kallithea_tune.app.visit import Answer
from kallithea_tune.config.instance import load
from kallithea_tune.perf_check.measurement import Measurement, configuration
from kallithea_tune.perf_check.model import Check
from kallithea_tune.perf_check.serving.option_names import is_read
from kallithea_tune.perf_check.tryout import concerned, judge_answers


def life(*ms, status=200):
    """The answers of one life of the application; the first takes longer."""
    return Answer("/", status, ms=(500.0, *ms))


CALM = [10.0, 10.1, 9.9, 10.0, 10.1, 9.9]


@pytest.mark.parametrize(
    "before, after, verdict",
    [
        ([CALM, CALM], [CALM, CALM], "same"),
        ([CALM, CALM], [[ms + 5 for ms in CALM]] * 2, "slower"),
        ([CALM, CALM], [[ms / 2 for ms in CALM]] * 2, "faster"),
        # Sure, but nothing that anyone notices.
        ([CALM, CALM], [[ms + 0.05 for ms in CALM]] * 2, "same"),
        # Two lives of the unchanged application lie apart as far as that.
        ([CALM, [ms + 5 for ms in CALM]], [[ms + 5 for ms in CALM]] * 2, "same"),
        ([CALM, CALM], [CALM, [ms + 5 for ms in CALM]], "same"),
    ],
)
def test_a_difference_counts_beyond_the_noise(before, after, verdict):
    (row,) = judge_answers("page", [life(*ms) for ms in before], [life(*ms) for ms in after])
    assert (row.measured, row.verdict, row.unit) == ("page", verdict, "ms")
    assert row.difference_from <= row.after - row.before <= row.difference_to


def test_another_status_is_told_beside_the_time():
    status, time = judge_answers("page", [life(*CALM)] * 2, [life(*CALM, status=404)] * 2)
    assert (status.before, status.after, status.verdict) == (200, 404, "changed")
    assert time.verdict == "same"


def test_too_few_rounds_say_nothing():
    (row,) = judge_answers("page", [life(10.0), life()], [life(10.0), life(10.0)])
    assert row.verdict == "unknown"


def test_the_probes_of_an_area_are_repeated_for_its_options(tmp_path):
    ini = tmp_path / "my.ini"
    ini.write_text("[app:main]\nuse = egg:nothing\n[server:main]\nuse = egg:waitress\n")
    checks = [
        Check("A", "a", "", "serving", list, (configuration,)),
        *(
            Check(area, area, "", area, list, (Measurement(configuration.function, 1.0),))
            for area in ("caching", "database", "storage", "serving")
        ),
    ]

    def ids(key):
        return [item.id for item in concerned(checks, load(str(ini)).with_settings({key: "x"}))]

    assert ids("beaker.cache.regions") == ["A", "caching"]
    assert ids("sqlalchemy.url") == ["A", "database"]
    assert ids("cache_dir") == ["A", "caching", "storage"]
    assert ids("serve_static") == ["A", "serving"]
    assert ids("server:main.threads") == ["A"]


@pytest.mark.parametrize(
    "use, names, read",
    [
        ("egg:kallithea", ["serve_static"], True),
        ("egg:kallithea", ["serve_statics"], False),
        ("egg:kallithea", ["sqlalchemy.pool_size", "pool_size"], True),
        ("egg:waitress#main", ["threads"], True),
        ("egg:waitress#main", ["workers"], False),
        ("egg:none-such", ["threads"], False),
        ("call:a:b", ["threads"], False),
    ],
)
def test_an_option_is_known_when_code_that_is_installed_names_it(use, names, read):
    assert is_read(use, names) is read
