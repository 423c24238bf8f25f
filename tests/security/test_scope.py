"""Kallithea and what wraps it is served, in Kallithea's environment; anything else is refused."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import venv
from importlib import metadata
from pathlib import Path
from typing import Callable, Iterable, Mapping, Sequence

import pytest
from environment import BIN, link, required

from kallithea_tune.app import factory, kallithea
from kallithea_tune.app.package import code, package_directory, title
from kallithea_tune.config.instance import load
from kallithea_tune.errors import ConfigError

ROOT = Path(__file__).resolve().parents[2]
Result = "subprocess.CompletedProcess[str]"
CALL = "from kallithea.config.application import make_app\n    return make_app(g, **settings)\n"
DEFINITION = "def make(g, **settings):\n    "
COMMANDS = {
    "perf-check": [],
    "static-export": ["static", "--switch"],
    "db-migrate": ["--to", "sqlite:///copy.db"],
}
# What a wrapper's code may look like; "{name}" is its package.
WRAPPERS = {
    "inside the function": {"": DEFINITION + CALL},
    "at the top": {"": "import kallithea.config.application as k\nmake = k.make_app\n"},
    "a module of the package": {"": "from kallithea.config import application\n"},
    "of 0.6": {"": "from kallithea.config.middleware import make_app as make\n"},
    "extended": {"": "from kallithea.config.app_cfg import KallitheaAppConfig\n"},
    "its own module": {"": "from .inner import make\n", "inner": DEFINITION + CALL},
    "two modules on": {
        "": "from . import a\n",
        "a": "from {name}.b import make\n",
        "b": DEFINITION + CALL,
    },
    "by name": {"": "import importlib as i\nk = i.import_module('kallithea.config.application')\n"},
    "by its egg": {
        "": "from paste.deploy import loadapp\n"
        "def make(g):\n    return loadapp('egg:Kallithea#main')\n"
    },
    "by its entry point": {
        "": "import pkg_resources as p\n"
        "make = p.get_distribution('Kallithea').load_entry_point('paste.app_factory', 'main')\n"
    },
    "it hangs": {"": "while True: pass\n" + DEFINITION + CALL},
    "it exits": {"": "import os\nos._exit(1)\n" + DEFINITION + CALL},
}
OTHERS = {
    "a page of its own": {"": "import tg\nfrom tg import MinimalApplicationConfigurator\n"},
    "our package": {"": "import kallithea_tune.app.kallithea, kallithea_tune\n"},
    "a dashboard": {"": "from kallithea.model import db\nimport kallithea\n"},
    "words": {"": '"""Not kallithea.config.application."""\n# import kallithea.config\n'},
    "another module": {"": "make = None\n", "unused": DEFINITION + CALL},
    "not Python": {"": "import kallithea.config <<<\n"},
    "in a circle": {"": "from . import a\n", "a": "from . import b\n", "b": "from . import a\n"},
}
TURBOGEARS = """
from tg import MinimalApplicationConfigurator, TGController, expose
from tg.configurator.components.statics import StaticsConfigurationComponent

class Root(TGController):
    @expose(content_type="text/plain")
    def index(self):
        return "hello"

def make(global_conf, **settings):
    configurator = MinimalApplicationConfigurator()
    configurator.register(StaticsConfigurationComponent)
    configurator.update_blueprint({"root_controller": Root(), "serve_static": True})
    return configurator.make_wsgi_app(global_conf, settings)
"""
PLAIN = """
def make(global_conf, **settings):
    def app(environ, start_response):
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b"hello"]
    return app
"""


def install(site: Path, name: str, modules: Mapping[str, str]) -> None:
    """Install an egg with the factory `make` in its package."""
    (site / name).mkdir(parents=True)
    for module, source in modules.items():
        path = site / name / (f"{module or '__init__'}.py")
        path.write_text(source.replace("{name}", name))
    info = site / (f"{name}.egg-info")
    info.mkdir()
    (info / "PKG-INFO").write_text(f"Metadata-Version: 1.0\nName: {name}\nVersion: 1.5\n")
    (info / "entry_points.txt").write_text(f"[paste.app_factory]\nmain = {name}:make\n")


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory whose eggs are installed, here and for what is started."""
    path = tmp_path / "site"
    path.mkdir()
    monkeypatch.syspath_prepend(str(path))
    monkeypatch.setenv(
        "PYTHONPATH", os.pathsep.join(filter(None, [str(path), os.environ.get("PYTHONPATH")]))
    )
    factory.factory.cache_clear()
    factory.wrappers.cache_clear()
    return path


@pytest.mark.parametrize("kind", WRAPPERS)
def test_a_wrapper_is_recognized_and_not_run(site: Path, kind: str) -> None:
    install(site, "wrapping", WRAPPERS[kind])
    assert factory.wrappers("egg:wrapping") and factory.wrappers("call:wrapping:make")
    assert code("egg:wrapping") == (package_directory(), str(site / "wrapping"))
    assert title("egg:wrapping") == "wrapping 1.5, kallithea"
    assert "wrapping" not in sys.modules


@pytest.mark.parametrize("kind", OTHERS)
def test_another_application_is_not_taken_for_a_wrapper(site: Path, kind: str) -> None:
    install(site, "kallithea_other", OTHERS[kind])
    assert factory.wrappers("egg:kallithea-other") is None
    assert "kallithea_other" not in sys.modules


def test_wrappers_are_followed_through_other_eggs(site: Path) -> None:
    install(site, "innermost", WRAPPERS["its own module"])
    install(site, "between", {"": DEFINITION + "import innermost\n"})
    install(site, "outermost", {"": "from paste.deploy import loadapp\nx = 'egg:between'\n"})
    assert factory.wrappers("egg:outermost") == (
        "outermost",
        "between",
        "innermost",
        "innermost.inner",
    )


def test_a_pipe_in_a_package_blocks_nothing(site: Path) -> None:
    install(site, "piped", {"": "from . import inner, pipe\n", "inner": DEFINITION + CALL})
    os.mkfifo(str(site / "piped" / "pipe.py"))
    assert factory.wrappers("egg:piped") == ("piped", "piped.inner")


@pytest.mark.parametrize(
    "text",
    [
        "[app:main]\nuse = egg:Kallithea#main\n",
        "[app:main]\npaste.app_factory = kallithea.config.application:make_app\n",
        "[app:main]\nuse = call:kallithea.config.application:make_app\n",
        "[app:main]\nuse = config:other.ini#inner\n",
        "[pipeline:main]\npipeline = prefix other\n[filter:prefix]\nuse = egg:PasteDeploy#prefix\n"
        "[app:other]\nuse = egg:kallithea\n",
    ],
)
def test_every_way_to_refer_to_kallithea_is_followed(tmp_path: Path, text: str) -> None:
    (tmp_path / "other.ini").write_text("[app:inner]\nuse = egg:kallithea\n")
    (tmp_path / "my.ini").write_text(text)
    kallithea.require(load(str(tmp_path / "my.ini")))


def test_versions_that_were_never_tried_are_said(site: Path) -> None:
    info = site / "Kallithea.egg-info"
    info.mkdir()
    for version, said in (("0.6.3", ""), ("0.7.99", ""), ("0.6.2", "0.6.2"), ("0.8.0", "0.8.0")):
        (info / "PKG-INFO").write_text(
            f"Metadata-Version: 1.0\nName: Kallithea\nVersion: {version}\n"
        )
        note = kallithea.version_note()
        assert said in note and bool(note) == bool(said)


def refused(run: Callable[..., Result], ini: Path, *said: str) -> None:
    """Check that each command refuses the ini file in one sentence, and leaves nothing behind."""
    for command, words in COMMANDS.items():
        before = sorted(ini.parent.rglob("*"))
        result = run(command, "-c", ini, *words, cwd=str(ini.parent))
        assert (result.returncode, result.stdout) == (2, ""), result.stdout + result.stderr
        assert result.stderr.startswith(f"gearbox {command}: ") and result.stderr.count("\n") == 1
        for words_of_it in said:
            assert words_of_it in result.stderr
        assert sorted(ini.parent.rglob("*")) == before


@pytest.mark.parametrize("source", [TURBOGEARS, PLAIN], ids=["TurboGears2", "plain"])
def test_each_command_refuses_another_application(
    site: Path, tmp_path: Path, gearbox: Callable[..., Result], source: str
) -> None:
    install(site, "hello", {"": source})
    ini = tmp_path / "hello" / "my.ini"
    ini.parent.mkdir()
    ini.write_text("[app:main]\nuse = egg:hello\nsqlalchemy.url = sqlite:///%(here)s/hello.db\n")
    refused(gearbox, ini, f"{ini}: the application 'main' (egg:hello) is not Kallithea")


def test_a_composite_is_refused_with_the_kallithea_in_it(
    site: Path, tmp_path: Path, instance: Path, gearbox: Callable[..., Result]
) -> None:
    install(site, "hello", {"": PLAIN})
    text = instance.read_text().replace("[app:main]", "[app:code]", 1)
    urlmap = "[composite:main]\nuse = egg:Paste#urlmap\n/code = code\n/ = hello\n"
    instance.write_text(text + f"\n{urlmap}\n[app:hello]\nuse = egg:hello\n")
    refused(
        gearbox, instance, "is composed of other applications (egg:Paste#urlmap); give", "#code\n"
    )
    inner = load(f"{instance}#code")
    kallithea.require(inner)
    assert inner.prefix == "/code"
    instance.write_text(f"{urlmap.replace('/code = code', '')}\n[app:hello]\nuse = egg:hello\n")
    with pytest.raises(ConfigError, match="none of those in this file is Kallithea"):
        kallithea.require(load(str(instance)))


@pytest.mark.parametrize(
    "use, said",
    [
        ("egg:nosuch", "nosuch is not installed in"),
        ("egg:kallithea#nosuch", ""),
        ("call:no_module:app", "no_module is not installed in"),
        ("egg:waitress", "is not Kallithea"),
        ("egg:kallithea_tune", "is not Kallithea"),
        ("call:json:loads", "is not Kallithea"),
    ],
)
def test_factories_that_are_not_there(tmp_path: Path, use: str, said: str) -> None:
    (tmp_path / "my.ini").write_text(f"[app:main]\nuse = {use}\n")
    instance = load(str(tmp_path / "my.ini"))
    if not said:
        # perf-check reports that the application does not start.
        kallithea.require(instance)
        return
    with pytest.raises(ConfigError, match=said):
        kallithea.require(instance)


@pytest.fixture
def environment_of(
    tmp_path: Path,
) -> "Callable[[Iterable[metadata.Distribution]], Callable[..., Result]]":
    """Make an environment of some distributions and this package; return what runs its gearbox."""

    def made(distributions: Iterable[metadata.Distribution]) -> Callable[..., Result]:
        place = tmp_path / "environment"
        venv.create(str(place), symlinks=True)
        (site,) = place.glob("lib/python*/site-packages")
        for distribution in distributions:
            link(distribution, site)
        script = place / "bin" / "gearbox"
        script.write_text((BIN / "gearbox").read_text().split("\n", 1)[1])

        def run(*words: object, **options: str) -> Result:
            return subprocess.run(
                [str(place / "bin" / "python"), str(script), *map(str, words)],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                universal_newlines=True,
                env={"PYTHONPATH": str(ROOT), "PATH": f"{BIN}:/usr/bin:/bin"},
                **options,  # type: ignore[call-overload]
            )

        return run

    return made


def test_without_kallithea_the_right_gearbox_is_named(
    instance: Path, environment_of: "Callable[..., Callable[..., Result]]"
) -> None:
    ours = required("setuptools", required("kallithea-tune", {}))
    run = environment_of(ours.values())
    refused(
        run,
        instance,
        "Kallithea is not installed in ",
        f"run this on {instance} with the gearbox of",
    )
    refused(run, instance, f"({BIN / 'gearbox'})")
    assert run("perf-check", "--list", cwd="/").returncode == 0


@pytest.mark.parametrize("names", [{"turbogears2"}, {"mercurial", "sqlalchemy"}])
def test_what_kallithea_lacks_is_named(
    instance: Path, environment_of: "Callable[..., Callable[..., Result]]", names: "set[str]"
) -> None:
    everything = required("setuptools", required("kallithea", required("kallithea-tune", {})))
    kept = [one for name, one in everything.items() if name not in names]
    listed = ", ".join(title for title in factory.REQUIRED.values() if title.lower() in names)
    run = environment_of(kept)
    refused(run, instance, "Kallithea cannot start in ", f"since {listed} ")


COMPARED = ["CFG004", "CEL001", "CAC008", "DB014", "HOOK002", "WEB003"]


def findings(run: Callable[..., Result], ini: Path, ids: Sequence[str]) -> "set[tuple[str, str]]":
    words = [word for name in ids for word in ("--only", name)]
    result = run("perf-check", "-c", ini, *words, "-f", "json", "--budget", "120")
    assert result.stderr == "" and result.returncode in (0, 1), result.stdout + result.stderr
    return {
        (f"{item['check']} {item['subject']}", item["severity"])
        for item in json.loads(result.stdout)
    }


@pytest.mark.once
def test_a_kallithea_that_is_wrapped_twice_is_served_like_itself(
    site: Path, tmp_path: Path, instance: Path, gearbox: Callable[..., Result]
) -> None:
    more = "def make(g, own_option='', **settings):\n    " + CALL
    install(site, "inner_wrapper", {"": more + "NAME = 'own_option'\n"})
    install(
        site,
        "outer_wrapper",
        {"": "def make(g, **s):\n    import inner_wrapper as i\n    return i.make(g, **s)\n"},
    )
    wrapped = instance.with_name("wrapped.ini")
    text = instance.read_text()
    wrapped.write_text(
        text.replace("use = egg:kallithea\n", "use = egg:outer_wrapper\nown_option = 1\n")
    )
    assert findings(gearbox, wrapped, COMPARED) == findings(gearbox, instance, COMPARED)

    # The front-end is not built here, so that what is missing is added.
    front_end = tmp_path / "front-end"
    from kallithea_tune.static_export.sources.references import referenced

    for path in referenced(package_directory(), ["css", "js", "images", "codemirror", "fontello"]):
        (front_end / path).parent.mkdir(parents=True, exist_ok=True)
        (front_end / path).write_text(f"/* {path} */\n")
    published = []
    for ini, name in ((instance, "kallithea"), (wrapped, "outer_wrapper 1.5, kallithea")):
        words = ["static-export", "-c", ini, tmp_path / ini.stem, "--compress="]
        done = gearbox(*words, "--overlay", front_end, "--prune")
        assert done.returncode == 0 and f"{name} 0.7.0: " in done.stderr, done.stderr
        published.append(
            {str(p.relative_to(tmp_path / ini.stem)) for p in (tmp_path / ini.stem).rglob("*")}
        )
    assert published[0] == published[1] and "images/kallithea-logo.svg" in published[0]
    assert "+serve_static = false" in gearbox(*words, "--switch", "-n").stdout
    assert gearbox(*words, "--check").returncode == 0
    info = site / "outer_wrapper.egg-info" / "PKG-INFO"
    info.write_text(info.read_text().replace("1.5", "1.6"))
    assert gearbox(*words, "--check").returncode == 1

    copy = tmp_path / "copy.db"
    done = gearbox("db-migrate", "-c", wrapped, "--to", f"sqlite:///{copy}")
    assert done.returncode == 0 and "returns the same" in done.stdout, done.stdout + done.stderr


def test_a_wrapper_that_does_not_start_is_a_finding(
    site: Path, instance: Path, gearbox: Callable[..., Result]
) -> None:
    install(site, "broken", {"": "raise RuntimeError('no luck')\n" + DEFINITION + CALL})
    instance.write_text(instance.read_text().replace("egg:kallithea\n", "egg:broken\n"))
    result = gearbox("perf-check", "-c", instance, "--only", "WEB008", "-f", "json")
    (found,) = json.loads(result.stdout)
    assert (result.returncode, found["severity"]) == (1, "error")
    assert "does not start: RuntimeError: no luck" in found["diagnosis"]
