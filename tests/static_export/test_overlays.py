"""What an overlay may contain: what is published of it, what is not, and what is refused."""

from __future__ import annotations

import json
import os
import socket

import pytest

from kallithea_tune.config.instance import load
from kallithea_tune.static_export.sources.application import answered
from kallithea_tune.static_export.sources.collect import collect, unpublished
from kallithea_tune.static_export.sources.references import unreferenced


@pytest.fixture
def overlay(tmp_path):
    """An overlay with a file for browsers, one for programs, and much else."""
    root = tmp_path / "theme"
    for name in (
        "theme/logo.svg",
        "robots.txt",
        ".well-known/security.txt",
        ".well-known/matrix/server",
        ".well-known/acme-challenge/token",
        ".well-known/.htaccess",
        ".git/config",
        "theme/.logo.svg.swp",
        "theme/.well-known/security.txt",
    ):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("Contact: mailto:security@example.com\n" * 20)
    os.mkfifo(str(root / "theme" / "fifo"))
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(root / "socket"))
    (root / "theme" / "gone.svg").symlink_to("nowhere")
    (root / "theme" / "round.svg").symlink_to("round.svg")
    (root / "null").symlink_to("/dev/null")
    return root


FOUND = [
    ".well-known/matrix/server",
    ".well-known/security.txt",
    "robots.txt",
    "theme/logo.svg",
]
HIDDEN = "its name begins with a dot"
NOWHERE = "it is a link that leads nowhere"
LEFT = {
    ".git": HIDDEN,
    ".well-known/.htaccess": HIDDEN,
    ".well-known/acme-challenge": "it changes between exports",
    "null": "it is a device",
    "socket": "it is a socket",
    "theme/.logo.svg.swp": HIDDEN,
    "theme/.well-known": HIDDEN,
    "theme/fifo": "it is a FIFO",
    "theme/gone.svg": NOWHERE,
    "theme/round.svg": NOWHERE,
}


def test_all_is_published_or_named_with_the_reason(overlay):
    assert sorted(collect([str(overlay)], {})) == FOUND
    left = {os.path.relpath(source, str(overlay)): why for source, why in unpublished([overlay])}
    assert left == LEFT


def test_what_is_well_known_is_not_pruned(overlay):
    files = collect([str(overlay)], {})
    assert unreferenced(files, []) == ["theme/logo.svg"]


def test_the_run_names_what_it_does_not_publish(static_export, pristine, overlay, tmp_path):
    words = ("-c", pristine / "my.ini", tmp_path / "static", "--overlay", overlay)
    result = static_export(*words, "--dry-run")
    assert result.returncode == 0, result.stderr
    sentence = f"1 not published, because it is a FIFO: {overlay}/theme/fifo"
    assert sentence in " ".join(result.stderr.split())
    result = static_export(*words, "--format", "json")
    assert result.returncode == 0, result.stderr
    rows = {row["path"]: row["said"] for row in json.loads(result.stdout)}
    for path, reason in LEFT.items():
        assert rows[str(overlay / path)] == f"not published, because {reason}"
    assert (tmp_path / "static" / ".well-known" / "security.txt").exists()
    assert not (tmp_path / "static" / ".well-known" / "acme-challenge").exists()


def test_an_overlay_in_place_of_a_page_is_refused(static_export, pristine, tmp_path):
    (tmp_path / "theme" / "_admin").mkdir(parents=True)
    (tmp_path / "theme" / "_admin" / "x.txt").write_text("x")
    result = static_export(
        "-c", pristine / "my.ini", tmp_path / "static", "--overlay", tmp_path / "theme"
    )
    assert result.returncode == 3
    sentence = f"Kallithea itself answers /_admin, which {tmp_path}/theme/_admin/x.txt would hide"
    assert sentence in " ".join(result.stderr.split())
    assert not (tmp_path / "static").exists()


def test_routes_repositories_and_groups_are_the_applications(instance):
    pages = ["_admin", "about", "_repos", "hg-one"]
    free = ["favicon.ico", "robots.txt", ".well-known", "theme", "a b", "ä", "100%", "hg-one.txt"]
    assert answered(load(str(instance)), [*pages, *free]) == pages
