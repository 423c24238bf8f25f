"""What PasteDeploy's prefix filter needs, for each server of the ini file."""

from __future__ import annotations

from pathlib import Path
from typing import Mapping

import pytest

from kallithea_tune.config.forwarding import CLEAR, GUNICORN, TRUST, lacking
from kallithea_tune.config.instance import load

OFF = {"translate_forwarded_server": "false"}
INI = """[server:main]
{server}
host = 127.0.0.1
port = 5000

[filter:front]
use = egg:PasteDeploy#prefix
prefix = /code
{more}

[filter:unused]
use = egg:PasteDeploy#prefix

[app:main]
use = egg:kallithea
filter-with = front
"""


@pytest.mark.parametrize(
    "server, more, expected",
    [
        ("use = egg:waitress#main", "", {"filter:front": OFF, "server:main": {**TRUST, **CLEAR}}),
        (
            "use = egg:waitress#main\ntrusted_proxy = 192.0.2.1",
            "translate_forwarded_server = yes",
            {"filter:front": OFF, "server:main": CLEAR},
        ),
        ("use = egg:gunicorn#main", "", {"filter:front": OFF, "app:main": GUNICORN}),
        ("use = egg:waitress#main", "translate_forwarded_server = false", {}),
        # Whether all access is by https, which others have to be told, only the admin knows.
        ("use = egg:gearbox#wsgiref", "", {}),
    ],
    ids=["waitress", "trusting", "gunicorn", "careful", "other"],
)
def test_what_is_lacking(
    tmp_path: Path, server: str, more: str, expected: Mapping[str, object]
) -> None:
    ini = tmp_path / "my.ini"
    ini.write_text(INI.format(server=server, more=more))
    assert lacking(load(str(ini))) == expected


def test_nothing_is_lacking_without_the_filter(tmp_path: Path) -> None:
    ini = tmp_path / "my.ini"
    text = INI.format(server="use = egg:waitress#main", more="")
    ini.write_text(text.replace("filter-with = front\n", ""))
    assert lacking(load(str(ini))) == {}
