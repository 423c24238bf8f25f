"""Words in reports: numbers with their nouns."""

from __future__ import annotations

import pytest

from kallithea_tune.text import counted, plural


@pytest.mark.parametrize(
    ("number", "noun", "said"),
    [
        (1, "repository", "1 repository"),
        (0, "repository", "0 repositories"),
        (1200, "page", "1,200 pages"),
        (2, "process", "2 processes"),
        (2, "index", "2 indexes"),
        (2, "push", "2 pushes"),
        (2, "key", "2 keys"),
        (1, "directory of archives", "1 directory of archives"),
        (2, "directory of archives", "2 directories of archives"),
        (2, "region in memory", "2 regions in memory"),
        (2, "page with cached parts", "2 pages with cached parts"),
    ],
)
def test_a_number_and_its_noun(number: int, noun: str, said: str) -> None:
    assert counted(number, noun) == said
    assert plural(plural(noun)) == plural(noun)
