"""Which references of a stylesheet lead nowhere, beside what Chromium requests."""

from __future__ import annotations

import pytest

from kallithea_tune.static_export.release.manifest import Published, StaticFile
from kallithea_tune.static_export.sources import stylesheets

SHEETS = {
    "plain": ("a { background: url(a.png) }", ["a.png"]),
    "quoted": ("""a { background: url( "a b.png" ), URL('c.png') }""", ["a b.png", "c.png"]),
    "import": ("@import 'a.css'; @IMPORT/**/\"b.css\" print; @import url(c.css);", None),
    "commented": ("/* url(no.png) */ a {} /* @import 'no.css' */ b { c: url(a.png) }", ["a.png"]),
    "comment-without-end": ("a { b: url(a.png) } /* url(no.png)", ["a.png"]),
    "in-a-string": ("""a::after { content: "url(no.png) /*"; b: url(a.png) }""", ["a.png"]),
    "escaped-quote": (r"""a { content: "\"url(no.png)"; b: url("a\"b.png") }""", ['a"b.png']),
    "escapes": (r"a { b: url(a\20 b.png); c: url(\63.png); d: url(a\(1\).png) }", None),
    "line-continued": ('a { b: url("a\\\nb.png") }', ["ab.png"]),
    "another-function": ("a { b: my-url(no.png); c: xurl(no.png) }", []),
    "data": ("a { b: url(data:image/png;base64,AA/=) }", ["data:image/png;base64,AA/="]),
    "empty": ("a { b: url(); c: url('') }", ["", ""]),
    "font": (
        "@font-face { src: url('f.eot?1#iefix') format('x'), local('y'), url(f.woff2); }",
        ["f.eot?1#iefix", "f.woff2"],
    ),
    "unclosed": ("a { b: url(no.png", []),
    "bad-string": ("a { b: url('no.png\n') } c { d: url(a.png) }", ["a.png"]),
}
SHEETS["import"] = (SHEETS["import"][0], ["a.css", "b.css", "c.css"])
SHEETS["escapes"] = (SHEETS["escapes"][0], ["a b.png", "c.png", "a(1).png"])


@pytest.mark.parametrize("text, found", SHEETS.values(), ids=list(SHEETS))
def test_references_are_what_a_browser_reads(text, found):
    assert list(stylesheets.references(text)) == found


@pytest.mark.parametrize("prefix", ["", "/hosted", "/a/b"])
def test_where_a_reference_leads(prefix):
    for reference, path in {
        "a.png": "css/a.png",
        "../images/a%20b.png?v=1#x": "images/a b.png",
        "./a.png": "css/a.png",
        f"{prefix}/images/a.png": "images/a.png",
        "data:image/png;base64,AA": None,
        "https://example.com/a.png": None,
        "//example.com/a.png": None,
        "#gradient": None,
        "": None,
        "http://[": None,
        "../../../../../elsewhere.png": None if prefix else "elsewhere.png",
        "/elsewhere/a.png": None if prefix else "elsewhere/a.png",
    }.items():
        assert stylesheets.target("css/style.css", reference, prefix) == path, reference


def test_only_what_is_not_published_is_missing():
    def published(path, kept=0):
        return Published(StaticFile(path, path, 1, 1, 1, "0"), 1, {}, kept)

    files = {
        "css/style.css": published("css/style.css"),
        "css/old.css": published("css/old.css", kept=1),
        "images/a.png": published("images/a.png"),
    }
    text = "@import '//x/y.css'; a { b: url(../images/a.png); c: url(no.woff); d: url(no.woff?#x) }"
    assert stylesheets.missing(files, "", lambda file: text) == [("css/style.css", "no.woff")]
