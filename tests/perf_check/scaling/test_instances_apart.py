"""What becomes of work at two real instances that keep it in different places."""

from __future__ import annotations

import hashlib
import hmac
import re
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Iterator

import pytest
from environment import BIN
from servers.application import Kallithea, run
from servers.pair import api, copied, database_of, second, seen, url
from servers.visitor import Visitor

from kallithea_tune.config.instance import load

pytestmark = pytest.mark.once


@pytest.fixture(scope="module")
def first(pristine: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kallithea]:
    """A running instance with repositories and SSH keys of its own."""
    with copied(
        pristine,
        tmp_path_factory.mktemp("apart"),
        ssh_enabled="true",
        ssh_authorized_keys="%(here)s/keys",
        kallithea_cli_path="/usr/bin/kallithea-cli",
        archive_cache_dir="%(here)s/tarballs",
    ) as server:
        yield server


def _opened(server: Kallithea, path: str) -> bytes:
    with urllib.request.urlopen(url(server) + path, timeout=60) as answer:
        return bytes(answer.read())


def _person(server: Kallithea) -> Visitor:
    visitor = Visitor(url(server))
    visitor.log_in()
    return visitor


def test_a_store_of_another_type_logs_users_in_at_one_only(first: Kallithea) -> None:
    with second(first, session__type="memory") as other:
        assert seen(first, other) == "bAbA"


@pytest.mark.parametrize("setting", ["session__cookie_domain", "session__cookie_path"])
def test_nobody_can_log_in_where_the_cookie_is_for_elsewhere(
    first: Kallithea, setting: str
) -> None:
    value = "elsewhere.example.com" if setting.endswith("domain") else "/elsewhere"
    refused = pytest.raises(urllib.error.HTTPError, match="403")
    with second(first, **{setting: value}) as other, refused:
        Visitor(url(other)).log_in()
    Visitor(url(first)).log_in()


def test_a_key_that_signs_cookies_logs_users_in_at_one_only(pristine: Path, tmp_path: Path) -> None:
    own, other = "key-of-the-first", "key-of-the-other"
    with copied(pristine, tmp_path, session__type="cookie", session__validate_key=own) as here:
        with second(here) as same:
            assert seen(here, same) == "BABA"
        with second(here, session__validate_key=other) as there:
            assert seen(here, there) == "baba"


def test_another_index_finds_nothing(first: Kallithea) -> None:
    run(BIN / "kallithea-cli", "index-create", "-c", first.ini, "--full", cwd=first.ini.parent)
    path, none = "/_admin/search?q=demo&type=path", "The server has no search index"
    with second(first, index_dir="%(here)s/elsewhere") as other:
        assert none not in _person(first).get(path)
        assert none in _person(other).get(path)


def test_another_directory_of_archives_packs_again(first: Kallithea) -> None:
    directory = first.ini.parent
    api(first, "update_repo", repoid="hg-one", enable_downloads=True)
    with second(first, archive_cache_dir=str(directory / "elsewhere-tarballs")) as other:
        for server in (first, first, other):
            _opened(server, "/hg-one/archive/tip.zip")
    kept = [list((directory / name).iterdir()) for name in ("tarballs", "elsewhere-tarballs")]
    assert [len(found) for found in kept] == [1, 1]


def test_another_cache_shows_nothing_old(first: Kallithea, tmp_path: Path) -> None:
    work, directory = tmp_path / "work", first.ini.parent
    address = url(first).replace("//", "//admin:demo-password@") + "/hg-one"
    elsewhere = "%(here)s/elsewhere-cache"
    with second(first, beaker__cache__data_dir=elsewhere, cache__data_dir=elsewhere) as other:
        servers = (first, other)
        assert not any("Pushed meanwhile" in _person(one).get("/hg-one") for one in servers)
        run(BIN / "hg", "clone", "-q", address, work, cwd=tmp_path)
        (readme,) = work.glob("README*")
        readme.write_text("Pushed meanwhile\n")
        run(BIN / "hg", "commit", "-q", "-m", "README", cwd=work)
        run(BIN / "hg", "push", "-q", address, cwd=work)
        assert all("Pushed meanwhile" in _person(one).get("/hg-one") for one in servers)
    assert any((directory / "elsewhere-cache").rglob("*"))


def test_a_mail_for_a_new_password_works_at_one_only(first: Kallithea) -> None:
    with second(first, app_instance_uuid="another") as other:
        visitor = Visitor(url(first))
        page = visitor.get("/_admin/gists")
        session = re.search(r'_session_csrf_secret_token = \("(\d+)"\)', page)
        assert session
        fields = _token(first, session[1])
        came = []
        for server in (other, first):
            visitor.url = url(server)
            came.append(visitor.post("/_admin/password_reset_confirmation", **fields))
    assert came == [
        url(other) + "/_admin/password_reset_confirmation",
        url(first) + "/_admin/login",
    ]


def _token(server: Kallithea, session: str) -> "dict[str, str]":
    """Return the form of a mail for a new password; its token as in kallithea/model/user.py."""
    with database_of(server.ini.parent) as database:
        ((number, password, email),) = database.execute(
            "SELECT user_id, password, email FROM users WHERE username = 'admin'"
        )
    secret = load(str(server.ini)).settings["app_instance_uuid"]
    now = str(int(time.time()))
    token = hmac.new(
        "\0".join([secret, password]).encode(),
        "\0".join([session, str(number), email, now]).encode(),
        hashlib.sha1,
    ).hexdigest()
    new = {"password": "demo-password", "password_confirm": "demo-password"}
    return {"email": email, "timestamp": now, "token": token, **new}


def test_a_key_is_in_the_file_of_one_and_lines_have_the_program_of_the_last(
    first: Kallithea,
) -> None:
    directory, theirs = first.ini.parent, "/opt/other/bin/kallithea-cli"
    with second(
        first, ssh_authorized_keys=str(directory / "other-keys"), kallithea_cli_path=theirs
    ) as other:
        _add_key(other, "one")
        _add_key(first, "two")
    here, there = (_keys(directory / name) for name in ("keys", "other-keys"))
    assert len(here) == 2 and len(there) == 1
    with second(first, kallithea_cli_path=theirs) as other:
        _add_key(other, "three")
    here = _keys(directory / "keys")
    assert len(here) == 3 and all(theirs in line and "second.ini" in line for line in here)


def _add_key(server: Kallithea, name: str) -> None:
    pair = server.ini.with_name(name)
    run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", pair, cwd=pair.parent)
    public = pair.with_name(name + ".pub").read_text()
    _person(server).post("/_admin/my_account/ssh_keys", description=name, public_key=public)


def _keys(path: Path) -> "list[str]":
    return [line for line in path.read_text().splitlines() if "ssh-ed25519" in line]


def test_hooks_start_the_python_of_the_instance_that_made_the_repository(
    first: Kallithea,
) -> None:
    theirs = "/opt/other/bin/python"
    with second(first, git_hook_interpreter=theirs) as other:
        for server, name in ((first, "made-here"), (other, "made-there")):
            api(server, "create_repo", repo_name=name, repo_type="git")
    hooks = [
        (first.ini.parent / "repos" / name / "hooks" / "post-receive").read_text().splitlines()[0]
        for name in ("made-here", "made-there")
    ]
    assert hooks[0] != hooks[1] == "#!" + theirs
