"""The application's package is found without importing it, its models by importing them."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from kallithea_tune.app import application
from kallithea_tune.app.package import distribution, package_directory
from kallithea_tune.config.instance import load
from kallithea_tune.errors import ConfigError, NotMeasured


def test_the_distribution_and_the_package_of_kallithea() -> None:
    assert distribution("egg:kallithea") == ("kallithea", "0.7.0")
    assert Path(package_directory("egg:kallithea")).name == "kallithea"
    assert distribution("call:module:factory").version == ""


@pytest.mark.parametrize(
    "use, message",
    [
        ("call:module:factory", "use = call:module:factory does not say where"),
        ("egg:no-such-distribution", "no-such-distribution is not installed"),
    ],
)
def test_where_the_code_is_not_found_the_reason_is_given(use: str, message: str) -> None:
    with pytest.raises(NotMeasured, match=message):
        package_directory(use)


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The ini file of an application with one table."""
    package = tmp_path / "toy_application"
    package.mkdir()
    (package / "__init__.py").write_text("def make(global_conf, **settings):\n    return None\n")
    (package / "model.py").write_text(
        "import sqlalchemy\nmetadata = sqlalchemy.MetaData()\n"
        "sqlalchemy.Table('toys', metadata, sqlalchemy.Column('name', sqlalchemy.String(9)))\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in ("toy_application", "toy_application.model"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    (tmp_path / "my.ini").write_text("[app:main]\npaste.app_factory = toy_application:make\n")
    return tmp_path / "my.ini"


def test_the_metadata_is_at_the_usual_place_or_where_the_reference_says(toy: Path) -> None:
    instance = load(str(toy))
    assert application.package(instance) == "toy_application"
    for reference in ("", "toy_application.model:metadata"):
        assert list(application.metadata(instance, reference).tables) == ["toys"]
    for wrong in ("toy_application:none", "none.model:metadata", ":metadata", ".model:metadata"):
        with pytest.raises(ConfigError, match=f"not found in {wrong}; .*--metadata"):
            application.metadata(instance, wrong)
    assert application.schema_heads(instance) == ()
