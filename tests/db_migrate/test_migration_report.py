from __future__ import annotations

import pytest

from kallithea_tune.db_migrate import MigrationResult, report
from kallithea_tune.db_migrate.plan import Plan
from kallithea_tune.db_migrate.result import Step
from kallithea_tune.db_migrate.verify.difference import Difference, DifferenceKind, TableComparison

SOURCE = "postgresql database-server.example.com/kallithea_of_the_whole_company"
FILE = "/srv/" + "kallithea/" * 9 + "my.db"


def made(rows: tuple[int, int], *differences: Difference, **changed: object) -> str:
    """What is printed of a migration of one table."""
    done = MigrationResult(
        Plan(SOURCE, "sqlite " + FILE, (), (), (), ()),
        rows={"user_logs": rows[1]},
        inserts_tried=29,
        seconds={Step.COPY: 1000.0, Step.KEYS: 100.0, Step.SCHEMA_CHECK: 10.0, Step.VERIFY: 1000.0},
        verified=[
            TableComparison("user_logs", rows, {"user_log_id": ("1", "1")}, list(differences))
        ],
    )
    for name, value in changed.items():
        setattr(done, name, value)
    return "".join(f"{line}\n" for line in report.result_lines(done))


def test_lines_end_before_the_81st_column_but_for_a_path_that_is_longer_itself() -> None:
    keys = list(range(10**6, 10**6 + 20))
    missing = Difference("user_logs", "", DifferenceKind.missing, 21, False, [*keys])
    text = made((10**7, 10**7 - 21), missing)
    lines = text.splitlines()
    assert [line for line in lines if len(line) > 80] == [f"    {FILE}."]
    assert (
        f"user_logs: 21 rows missing from the target (key {', '.join(map(str, keys))}, ...)"
    ) in " ".join(line.strip() for line in lines)


@pytest.mark.parametrize(
    "rows, fixed, printed",
    [
        ((1000, 1000), {}, "no differences: 1,000 rows on both sides, 1 columns in 1 tables."),
        (
            (1000, 999),
            {"user_logs": {"left out": 1}},
            "no differences except for what the fixes changed: 1,000 rows in the source and 999 in "
            "the target, 1 columns",
        ),
    ],
)
def test_the_rows_of_both_sides_are_reported(
    rows: tuple[int, int], fixed: object, printed: str
) -> None:
    assert printed in " ".join(made(rows, fixed=fixed, quarantine="/q.jsonl").split())
