"""Kallithea's package is found without importing it, its models by importing them."""

from __future__ import annotations

from pathlib import Path

from kallithea_tune.app import application
from kallithea_tune.app.package import code, kallithea_version, package_directory, sources, title


def test_the_version_and_the_package_of_kallithea() -> None:
    assert kallithea_version() == "0.7.0" and title("egg:kallithea") == "kallithea"
    assert Path(package_directory()).name == "kallithea"
    assert code("egg:Kallithea#main") == (package_directory(),)


def test_sources_are_the_modules_that_run(tmp_path: Path) -> None:
    for name in ("a.py", "b.txt", "lib/c.py", "tests/d.py", "public/e.py", "__pycache__/f.py"):
        path = tmp_path / "package" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (tmp_path / "lone.py").touch()
    found = sources([str(tmp_path / "package"), str(tmp_path / "lone.py")])
    assert sorted(Path(path).name for path in found) == ["a.py", "c.py", "lone.py"]


def test_the_models_and_the_newest_revision() -> None:
    assert {"users", "repositories", "user_logs"} <= set(application.metadata().tables)
    heads, revisions = application.schema_history()
    assert len(heads) == 1 and set(heads) < revisions
