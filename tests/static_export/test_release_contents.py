"""What happens by hand to a release: seen by the next look, put right by the next run."""

from __future__ import annotations

import gzip
import os
import shutil
import signal
import subprocess
import time

import pytest
from test_interrupted import in_child, kill

from kallithea_tune.errors import Refused
from kallithea_tune.static_export.release import destination, integrity, manifest, publish, seal
from kallithea_tune.static_export.release.integrity import Damage

STYLE, BASE = "css/style.css", "js/base.js"


def condition(place):
    return integrity.inspect(manifest.read(str(place)), str(place))


def other_bytes(path):
    """Change content, and neither size nor time."""
    status = path.stat()
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    os.utime(str(path), ns=(status.st_atime_ns, status.st_mtime_ns))


def another_variant(path):
    """Put a variant of other content in place, with the size and time of the right one."""
    status = path.stat()
    data = gzip.compress(b"b {}\n" * 500, 9, mtime=0)
    path.write_bytes(data + b"\0" * (status.st_size - len(data)))
    os.utime(str(path), ns=(status.st_atime_ns, status.st_mtime_ns))


def replaced_by_link(path):
    away = path.parents[3] / "same.css"
    away.write_bytes(path.read_bytes())
    path.unlink()
    path.symlink_to(away)


DAMAGES = {
    "content": (STYLE, other_bytes, Damage.content),
    "variant": (STYLE + ".gz", another_variant, Damage.content),
    "shorter": (BASE, lambda path: path.write_text("a"), Damage.content),
    "missing": (BASE, lambda path: path.unlink(), Damage.missing),
    "missing-variant": (BASE + ".gz", lambda path: path.unlink(), Damage.missing),
    "touched": (BASE, lambda path: os.utime(str(path), (10**9, 10**9)), Damage.time),
    "touched-variant": (BASE + ".gz", lambda path: os.utime(str(path), (9, 9)), Damage.time),
    "link-to-the-same": (STYLE, replaced_by_link, Damage.kind),
    "mode": (STYLE, lambda path: path.chmod(0o600), Damage.mode),
    "mode-of-a-variant": (STYLE + ".gz", lambda path: path.chmod(0o666), Damage.mode),
    "mode-of-a-directory": ("css", lambda path: path.chmod(0o777), Damage.mode),
    "mode-of-all": (".", lambda path: path.chmod(0o700), Damage.mode),
    "owner": (STYLE, lambda path: os.chown(str(path), 12345, -1), Damage.owner),
    "release-name": (".release", lambda path: path.write_text("0009"), Damage.content),
    "link-to-a-directory": ("etc", lambda path: path.symlink_to("/etc"), Damage.link),
    "link-to-a-file": ("css/more.css", lambda path: path.symlink_to("style.css"), Damage.link),
    "empty-directory": ("css/new/more", lambda path: path.mkdir(parents=True), Damage.directory),
    "fifo": ("css/fifo", lambda path: os.mkfifo(str(path)), Damage.special),
}


@pytest.mark.parametrize("name, spoil, damage", DAMAGES.values(), ids=list(DAMAGES))
def test_what_happened_to_a_release_is_seen_and_put_right(export, public, name, spoil, damage):
    place, _ = export()
    assert not condition(place).damaged
    spoil(place / name)
    if name.endswith(".gz"):
        name = name[: -len(".gz")]
    assert condition(place).damaged == {name: damage}
    _, todo = export()
    assert not todo.is_empty and not condition(place).damaged
    for path in (STYLE, BASE):
        content = (public / path).read_bytes()
        assert (place / path).read_bytes() == content
        assert gzip.decompress((place / (path + ".gz")).read_bytes()) == content
    assert export()[1].is_empty
    assert os.path.isdir("/etc")


def test_a_directory_that_became_a_link_is_seen_with_all_that_it_hides(export, tmp_path):
    place, _ = export()
    shutil.move(str(place / "css"), str(tmp_path / "elsewhere"))
    (place / "css").symlink_to(tmp_path / "elsewhere")
    assert condition(place).damaged == {"css": Damage.link, STYLE: Damage.missing}
    export()
    assert not condition(place).damaged and not (place / "css").is_symlink()
    assert (tmp_path / "elsewhere" / "style.css").exists()


def test_wrong_content_that_was_served_makes_the_right_one_later(export):
    place, _ = export()
    before = {name: int((place / name).stat().st_mtime) for name in (STYLE, STYLE + ".gz", BASE)}
    other_bytes(place / STYLE)
    export()
    after = {name: int((place / name).stat().st_mtime) for name in before}
    assert after == {**before, STYLE: before[STYLE] + 1, STYLE + ".gz": before[STYLE] + 1}


def test_extra_files_are_seen_but_only_their_owner_may_remove_them(export):
    place, _ = export()
    (place / "css" / "mine.css").write_text("mine")
    assert condition(place).damaged == {"css/mine.css": Damage.file}
    with pytest.raises(Refused, match=r"css/mine\.css; move them into an --overlay"):
        export()
    (place / "css" / "mine.css").unlink()
    assert export()[1].is_empty


def test_files_to_which_nothing_happened_are_not_read(export, monkeypatch):
    place, _ = export()
    assert settled(place).read == 0
    read = []
    monkeypatch.setattr(integrity, "file_sha256", lambda path: read.append(path) or "")
    assert not condition(place).damaged and not read
    os.link(str(place / STYLE), str(place.parent / "backup"))
    assert condition(place).damaged == {STYLE: Damage.content}
    assert read == [str(place.resolve() / STYLE)]


def settled(place):
    """Record the release until its files are older than the tick of the clock; return what then
    still has to be read.
    """
    release = manifest.read(str(place))
    for _ in range(100):
        found = condition(place)
        if not found.read:
            break
        time.sleep(0.01)
        sealed = seal.taken(release, str(place), time.time_ns())
        (place / manifest.SEAL_NAME).write_text(seal.text(sealed))
    return found


@pytest.mark.parametrize("copy", ["cp -a", "cp -r --preserve=mode,timestamps", "tar"])
def test_a_restored_backup_is_compared_and_recorded(export, planned, tmp_path, copy):
    place, todo = export()
    releases = str(place) + ".releases"
    os.rename(releases, str(tmp_path / "backup"))
    if copy == "tar":
        words = f"mkdir {releases} && tar -C {tmp_path}/backup -c . | tar -C {releases} -x"
    else:
        words = f"{copy} {tmp_path}/backup/. {releases}/"
    subprocess.run(words, shell=True, check=True)
    found = condition(place)
    assert not found.damaged and found.read == 5
    again = planned()
    assert again.is_empty
    publish.record(again, str(place))
    assert settled(place).read == 0
    assert (place / manifest.SEAL_NAME).stat().st_mode & 0o777 == 0o644


def test_a_release_handed_to_another_owner_is_read_and_left(export):
    place, _ = export()
    subprocess.run(["chown", "-R", "12345", str(place.parent)], check=True)
    found = condition(place)
    assert not found.damaged and found.read == 5
    assert export()[1].is_empty


def test_a_release_from_before_seals_gets_new_variants_once(export):
    place, _ = export()
    (place / manifest.SEAL_NAME).unlink()
    assert condition(place).damaged == {STYLE: Damage.unproven, BASE: Damage.unproven}
    export()
    assert not condition(place).damaged and export()[1].is_empty


@pytest.mark.parametrize("text", ["", "[]", "{", '{"a": 1}', '{"css/style.css": ["", 0, "x"]}'])
def test_a_seal_that_says_nothing_proves_nothing(export, text):
    place, _ = export()
    (place / manifest.SEAL_NAME).write_text(text)
    other_bytes(place / STYLE)
    assert condition(place).damaged[STYLE] is Damage.content


@pytest.mark.parametrize("how", ["hardlink", "symlink"])
def test_links_to_the_applications_files_have_its_rights(export, public, how):
    (public / BASE).chmod(0o600)
    place, _ = export(how=how)
    assert not condition(place).damaged
    other_bytes(public / BASE)
    assert condition(place).damaged == {BASE: Damage.content}
    export(how=how)
    assert not condition(place).damaged
    (public / STYLE).unlink()
    assert condition(place).damaged == ({STYLE: Damage.missing} if how == "symlink" else {})


@pytest.mark.parametrize("how", ["copy", "hardlink", "symlink"])
def test_a_time_in_the_future_is_not_handed_on(export, public, how):
    ahead = time.time() + 10**8
    os.utime(str(public / STYLE), (ahead, ahead))
    place, _ = export(how=how)
    published = (place / STYLE).stat().st_mtime
    assert published <= time.time() and (place / (STYLE + ".gz")).stat().st_mtime == published
    assert export(how=how)[1].is_empty and not condition(place).damaged
    (public / STYLE).write_text("b {}\n" * 500)
    os.utime(str(public / STYLE), (ahead, ahead))
    export(how=how)
    assert int(published) < int((place / STYLE).stat().st_mtime) <= time.time() + 1


def test_what_was_published_while_the_clock_was_wrong_gets_the_time_of_now(
    export, public, monkeypatch
):
    right = time.time_ns
    monkeypatch.setattr(time, "time_ns", lambda: right() + 10**17)
    os.utime(str(public / STYLE), (time.time() + 10**8, time.time() + 10**8))
    place, _ = export()
    monkeypatch.undo()
    assert (place / STYLE).stat().st_mtime > time.time() + 10**7
    assert condition(place).damaged == {STYLE: Damage.future}
    export()
    assert (place / STYLE).stat().st_mtime <= time.time()
    assert export()[1].is_empty


def deleted_releases(place):
    shutil.rmtree(str(place) + ".releases")
    return f"{place}.releases, to which {place} leads, was deleted"


def deleted_release(place):
    gone = place.resolve()
    shutil.rmtree(str(gone))
    return f"{gone}, to which {place} leads, was deleted"


def deleted_link(place):
    place.unlink()
    return f"{place}, the link to the newest release, was deleted"


@pytest.mark.parametrize("delete", [deleted_releases, deleted_release, deleted_link])
def test_what_was_deleted_by_hand_is_said_and_published_again(export, public, delete):
    os.utime(str(public / STYLE), (10**9, 10**9))
    export("1")
    (public / BASE).write_text("var b;\n" * 500)
    place, _ = export("2")
    assert destination.lost(str(place)) == ""
    sentence = delete(place)
    assert destination.lost(str(place)) == sentence
    assert destination.published(str(place)) is None
    export("2")
    assert destination.lost(str(place)) == "" and not condition(place).damaged
    assert (place / BASE).read_bytes() == (public / BASE).read_bytes()


def test_another_release_beside_a_deleted_one_stays_and_its_number_is_not_used_again(export):
    export("1", mode=0o640)
    place, _ = export("1", mode=0o644)
    shutil.rmtree(str(place.resolve()))
    export("1")
    assert sorted(os.listdir(f"{place}.releases")) == [".lock", "0001", "0003"]


def test_a_copy_in_place_of_the_link_is_refused_in_one_sentence(export):
    place, _ = export()
    shutil.copytree(str(place), str(place) + ".copy")
    place.unlink()
    os.rename(str(place) + ".copy", str(place))
    assert destination.is_copy(str(place))
    with pytest.raises(Refused, match="is a copy of a release instead of the link"):
        export()
    shutil.rmtree(str(place))
    export()
    assert not destination.is_copy(str(place)) and not condition(place).damaged


@pytest.mark.slow
def test_killed_while_it_recorded_a_release_that_still_is_right(export, planned, public):
    place, _ = export()
    for at in range(1, 1000):
        (place / manifest.SEAL_NAME).write_text(seal.text(seal.read(str(place))))
        ended = in_child(planned(), place, at, kill, publish.record)
        assert ended in (0, signal.SIGKILL)
        assert not condition(place).damaged, at
        if ended == 0:
            break
    assert at > 10
    assert export()[1].is_empty


@pytest.mark.once
def test_the_command_sees_it_says_it_and_puts_it_right(static_export, pristine, tmp_path):
    place = tmp_path / "static"

    def command(*words):
        result = static_export("-c", pristine / "my.ini", place, *words)
        return result.returncode, " ".join(result.stderr.split())

    assert command("--compress", "")[0] == 0 and command("--check")[0] == 0
    other_bytes(place / STYLE)
    (place / "etc").symlink_to("/etc")
    (place / "js" / "base.js").chmod(0o666)
    status, said = command("--check")
    assert status == 1 and "3 damaged" in said
    for words in (["--dry-run"], []):
        status, said = command(*words)
        assert status == 0
        for name, damage in (
            (STYLE, Damage.content),
            ("etc", Damage.link),
            ("js/base.js", Damage.mode),
        ):
            assert f"1 damaged ({damage.value}): {name}" in said
    assert command("--check")[0] == 0 and not (place / "etc").exists()
    (place / "mine.txt").write_text("mine")
    status, said = command("--check")
    assert status == 1 and "first move the added files, mine.txt, into an --overlay" in said
    shutil.rmtree(str(place) + ".releases")
    status, said = command("--check")
    sentence = f"{place}.releases, to which {place} leads, was deleted"
    assert status == 1 and f"{sentence}; nothing is published" in said
    began = int(time.time())
    status, said = command("--compress", "")
    # Whatever browsers know of the files that were deleted is older.
    assert (place / STYLE).stat().st_mtime >= began
    assert status == 0 and f"note: {sentence}; every file is published again" in said
    assert command("--check")[0] == 0
