"""Whether the web server's user gets to a release: real owners, modes, links and access control
lists.
"""

from __future__ import annotations

import os
import pwd
import re
import shlex
import shutil
import struct

import pytest

from kallithea_tune.errors import ConfigError
from kallithea_tune.static_export.release import access

NOBODY = access.Reader("nobody", pwd.getpwnam("nobody").pw_uid, frozenset({65534}))


@pytest.fixture
def open_place(tmp_path):
    """A directory that everybody can pass on the way to; pytest's own are closed."""
    place = tmp_path / "open"
    shutil.rmtree(str(place), ignore_errors=True)
    place.mkdir()
    parents = [parent for parent in place.parents if parent.stat().st_mode & 0o001 == 0]
    before = [(parent, parent.stat().st_mode) for parent in parents]
    for parent in parents:
        parent.chmod(0o711)
    yield place
    for parent, mode in before:
        parent.chmod(mode & 0o777)


def really(path):
    """Ask the kernel whether nobody can read the file at `path`."""
    child = os.fork()
    if not child:
        try:
            os.setgroups([65534])
            os.setgid(65534)
            os.setuid(NOBODY.uid)
            open(str(path)).close()
        except OSError:
            os._exit(1)
        os._exit(0)
    return os.waitpid(child, 0)[1] == 0


@pytest.mark.parametrize(
    "closed, mode",
    [
        ("release/css/style.css", 0o600),
        ("release/css", 0o700),
        ("release", 0o740),
        (".", 0o700),
        ("", None),
        ("release/css/style.css", 0o604),
        ("release/css/style.css", 0o064),
        ("release/css", 0o711),
    ],
)
def test_it_says_what_the_kernel_says(open_place, closed, mode):
    css = open_place / "release" / "css"
    css.mkdir(parents=True)
    (css / "style.css").write_text("a {}")
    if closed:
        (open_place / closed).chmod(mode)
    message = access.obstacle(NOBODY, str(open_place / "release"))
    assert bool(message) is not really(css / "style.css")
    if message:
        assert message == f"{(open_place / closed).resolve()} (mode {mode:o})"


def test_the_way_to_the_target_of_a_link_counts(open_place):
    (open_place / "app").mkdir()
    (open_place / "app" / "style.css").write_text("a {}")
    (open_place / "app").chmod(0o700)
    (open_place / "release").mkdir()
    (open_place / "release" / "style.css").symlink_to(open_place / "app" / "style.css")
    assert access.obstacle(NOBODY, str(open_place / "release")) == "{} (mode 700)".format(
        open_place / "app"
    )
    assert not really(open_place / "release" / "style.css")


def test_an_access_control_list_is_believed(open_place):
    file = open_place / "style.css"
    file.write_text("a {}")
    file.chmod(0o640)
    assert access.obstacle(NOBODY, str(open_place))
    # Version 2, then tag, permissions and id of each entry: owner, nobody, group, mask, others
    # (acl(5)).
    entries = [(1, 6, -1), (2, 4, NOBODY.uid), (4, 4, -1), (16, 4, -1), (32, 0, -1)]
    acl = struct.pack("<I", 2) + b"".join(struct.pack("<HHi", *entry) for entry in entries)
    os.setxattr(str(file), "system.posix_acl_access", acl)
    assert not access.obstacle(NOBODY, str(open_place)) and really(file)


def test_owner_before_group_before_others(tmp_path):
    file = tmp_path / "file"
    file.write_text("")
    os.chown(str(file), NOBODY.uid, 65534)
    for mode, expected in ((0o400, True), (0o044, False)):
        file.chmod(mode)
        assert NOBODY.may(file.stat(), 4) is expected
    os.chown(str(file), 0, 65534)
    for mode, expected in ((0o040, True), (0o404, False)):
        file.chmod(mode)
        assert NOBODY.may(file.stat(), 4) is expected


def test_users_and_groups_that_are_not_there_are_told():
    with pytest.raises(ConfigError, match="--web-user no-such-user"):
        access.reader("no-such-user")
    with pytest.raises(ConfigError, match="--group no-such-group"):
        access.group_id("no-such-group")
    assert access.group_id("") is None and access.reader("root").may(os.stat("/etc/shadow"), 4)


@pytest.mark.parametrize("content, noted", [("1", True), ("0", False), (None, False)])
def test_selinux_is_mentioned_when_it_is_enforcing(tmp_path, content, noted):
    switch = tmp_path / "enforce"
    if content:
        switch.write_text(content)
    message = access.selinux_note("/srv/static", str(switch))
    assert bool(message) is noted and ("restorecon -R /srv/static.releases" in message) is noted


def test_the_commands_for_selinux_can_be_pasted_for_any_path(tmp_path):
    switch = tmp_path / "enforce"
    switch.write_text("1")
    message = access.selinux_note("/srv/a'b $c+", str(switch))
    words = shlex.split(message.partition(": ")[2])
    assert words[-1] == "/srv/a'b $c+.releases"
    assert re.fullmatch(words[words.index("&&") - 1], words[-1] + "/0001/css")
