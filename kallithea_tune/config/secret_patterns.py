"""Finds what looks like a secret although nobody knows it: the second line behind known values.

Each finder takes time proportional to the text: it starts at a literal, or at the beginning of a
word, and what it may look at from there is bounded or is not looked at again.
"""

from __future__ import annotations

import functools
import re
from typing import Callable, Iterable, Iterator, Tuple

from kallithea_tune.config.secret_names import is_secret_key, words_of

MASK = "***"
Span = Tuple[int, int]

_AFTER_SCHEME = re.compile(r"://([^\s'\"]*)")
_NEXT_URL = re.compile(r"[;,](?=[a-z][a-z0-9+.-]{0,30}://)", re.IGNORECASE)
_USER = re.compile(r"[^\s:/@'\"?#]*")
_PORT = re.compile(r"\d{1,5}(?!\w)")
_REST_OF_PASSWORD = re.compile(r"[^\n@]{0,80}@(?=[\w\[])")
_NEXT_VALUE = re.compile(r"['\"]\s*[,:]")

# What the names of secrets have in them, in lower case.
_STEM = re.compile(
    "pass|pwd?|secret|token|key|cred|auth|salt|hmac|dsn|otp|pin|licen|slack|webhook|uuid|private"
    "|cookie"
)
_IN_NAMES = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-"
_LONGEST = 80  # characters of a name that are looked at on each side of the stem
_ASSIGNED = re.compile(
    r"(?P<key>[\w.\-]{2,160})(?:\\{0,4}['\"])?(?P<sign>[ \t]{0,8}(?:=>?|:)[ \t]{0,8})"
)
_IN_QUERY = re.compile(r"[?&;](?:key|sig|signature|auth|code)=(?P<value>[^&\s'\"]+)")
_QUOTED = re.compile(
    r"[bBuUrR]{0,2}(?:'[^'\\\n]*(?:(?:\\.|'')[^'\\\n]*){0,999}'"
    r"|\"[^\"\\\n]*(?:\\.[^\"\\\n]*){0,999}\""
    r"|\\{1,4}(?P<quote>['\"])[^\n]{0,1000}?\\{1,4}(?P=quote))"
)
_PLAIN = re.compile(
    r"(?=[^\s&'\",;)}\]])[^\s&'\",;)}\]]*"
    r"(?:(?:[,;](?!\s|$|[\w.]{1,80}[=:])|[)}\]](?=[^\s,;)}\]&'\"]))[^\s&'\",;)}\]]*){0,99}"
)
_LINE = re.compile(r"[^\n]*[^\s]")
_LINE_START = re.compile(r"(?:^|\n)[ \t+\-#;]{0,8}$")
_HEADER = re.compile(
    r"['\"]?(?:(?:basic|bearer|token|apikey|negotiate|ntlm)[ \t]+[^\s'\",;]+|digest[ \t][^\n]*)",
    re.IGNORECASE,
)
_COOKIES = re.compile(r"['\"]?[\w.\-]{1,80}=[^\n'\"]*")
_NO_SECRETS = words_of("none null nil true false yes no unset empty missing")
_WORD = re.compile(r"[a-z]+|[A-Z]+|[A-Z][a-z]+|[0-9,.]+")
_MORE_WORDS = re.compile(r"[ \t]+[a-z(]")
_LONG_OPTION = re.compile(r"(?<![\w\-])(?P<key>--[a-zA-Z][\w\-]{1,60})[ \t]+(?!-)")

_PAIR = re.compile(r":(?P<value>[^\s'\"/:@<>(),;]{1,128})@(?=[\w\[])")
# What stands in front of a mail address.
_LABELS = words_of(
    "address author bcc by cc committer contact email from mail mailto replyto sender to"
)

# A literal that the text has to contain, and what is secret from there on.
_BY_LITERAL: tuple[tuple[str, re.Pattern[str]], ...] = tuple(
    (literal, re.compile(pattern, flags))
    for literal, pattern, flags in (
        (
            "-----BEGIN ",
            r"-----BEGIN [A-Z ]{0,30}PRIVATE KEY-----\s*(?P<value>.*?)(?=\s*-----END|\Z)",
            re.DOTALL,
        ),
        ("hooks.slack.com/", r"hooks\.slack\.com/\w+/(?P<value>[^\s'\"]+)", 0),
        ("/api/webhooks/", r"/api/webhooks/(?P<value>[^\s'\"]+)", 0),
        ("webhook.office.com/", r"webhook\.office\.com/(?P<value>[^\s'\"]+)", 0),
        ("api.telegram.org/bot", r"api\.telegram\.org/bot(?P<value>[^\s'\"/]+)", 0),
        ("ghp_", r"(?P<value>ghp_\w{8,})", 0),
        ("gho_", r"(?P<value>gho_\w{8,})", 0),
        ("ghs_", r"(?P<value>ghs_\w{8,})", 0),
        ("github_pat_", r"(?P<value>github_pat_\w{8,})", 0),
        ("glpat-", r"(?P<value>glpat-[\w\-]{8,})", 0),
        ("xox", r"(?P<value>xox[abeprs]-[\w\-]{8,})", 0),
        ("sk_live_", r"(?P<value>sk_live_\w{8,})", 0),
        ("AKIA", r"(?P<value>AKIA[0-9A-Z]{12,})", 0),
        ("eyJ", r"(?<![\w\-])(?P<value>eyJ[\w\-]{8,2000}\.[\w\-]{4,}(?:\.[\w\-]*)?)", 0),
        ("$2", r"(?P<value>\$2[abxy]\$\d\d\$[./A-Za-z0-9]{20,60})", 0),
        # What SQLAlchemy and servers add to a message are values of rows.
        ("[parameters: ", r"\[parameters: (?P<value>[^\n]*[^\n\])}])", 0),
        ("Failing row contains (", r"Failing row contains \((?P<value>[^\n]*[^\n).])", 0),
        ("Duplicate entry '", r"Duplicate entry '(?P<value>[^\n]{0,300})'(?= for key)", 0),
        ("PASSWORD '", r"PASSWORD '(?P<value>[^'\n]*(?:''[^'\n]*)*)'", 0),
        ("IDENTIFIED BY '", r"IDENTIFIED BY '(?P<value>[^'\n]*(?:''[^'\n]*)*)'", 0),
    )
)
# Options of programs that take a password as an argument.
_BY_PROGRAM = tuple(
    (option, re.compile(r"(?<=\s)" + pattern), programs)
    for option, pattern, programs in (
        (" -p", r"-p\s?(?P<value>'[^'\n]*'|[^\s\-']\S*)", ("sshpass",)),
        (" -p", r"-p(?P<value>'[^'\n]*'|[^\s\-']\S*)", ("mysql", "mariadb")),
        (" -a", r"-a\s?(?P<value>'[^'\n]*'|[^\s\-']\S*)", ("redis-cli",)),
        (
            " -",
            r"(?:-u|-U|--user|--proxy-user)[ =]?(?P<quote>['\"])?[^\s:'\"]{0,80}:"
            r"(?P<value>(?(quote)[^'\"\n]+|[^\s'\"]+))",
            ("curl",),
        ),
    )
)
_NEAR = 200  # characters in which a program stands before its option
_KEY_OF_ROW = re.compile(r"Key \((?P<columns>[^()\n]{1,300})\)=\((?P<value>[^\n]{0,300})\)")


def suspects(text: str) -> list[Span]:
    """Return where in `text` something looks like a secret, in order and without overlaps."""
    return joined(span for finder in _FINDERS for span in finder(text) if span[0] < span[1])


def joined(spans: Iterable[Span]) -> list[Span]:
    """Return `spans` in order, with those that overlap in one."""
    result: list[Span] = []
    for start, end in sorted(spans):
        if result and start < result[-1][1]:
            result[-1] = (result[-1][0], max(end, result[-1][1]))
        else:
            result.append((start, end))
    return result


def masked(text: str) -> str:
    """Return `text` with ``***`` in place of what looks like a secret."""
    pieces, last = [], 0
    for start, end in suspects(text):
        pieces += [text[last:start], MASK]
        last = end
    return "".join([*pieces, text[last:]])


def _in_urls(text: str) -> Iterator[Span]:
    """Find the password of a URL, and the token that is the only user of a web service's."""
    if "@" not in text:
        return
    for match in _AFTER_SCHEME.finditer(text):
        start, end = match.span(1)
        if "://" in match[1]:
            for found in _NEXT_URL.finditer(text, start, end):
                yield from _in_url(text, start, found.start())
                start = text.index("://", found.end()) + 3
        yield from _in_url(text, start, end)


def _in_url(text: str, start: int, end: int) -> Iterator[Span]:
    """Find the password between the scheme of one URL and its end.

    Which @ ends it depends on the reader of the URL, so it is the last. A password with a blank or
    a quote goes on after what looks like the end.
    """
    user = _USER.match(text, start, end)
    assert user
    after, sign = user.end(), text[user.end() : min(user.end() + 1, end)]
    is_web = text[max(0, start - 8) : start - 3].lower().endswith(("http", "https"))
    at = text.rfind("@", after, end)
    if sign == "@" and is_web and after > start:
        yield start, after
    elif sign == ":":
        port = _PORT.match(text, after + 1)
        if at > after and not (is_web and port and text[port.end()] in "/?#"):
            yield after + 1, at
        elif at < 0 and not port:
            rest = _REST_OF_PASSWORD.match(text, end)
            if rest and "://" not in rest[0] and not _NEXT_VALUE.search(rest[0]):
                yield after + 1, rest.end() - 1


def _assigned(text: str) -> Iterator[Span]:
    """Find the values behind names of secrets: ``password = x``, ``"token": "x"``, ``?key=x``."""
    lowered = text.lower()
    if len(lowered) != len(text):
        lowered = text  # a letter whose lower case is two characters
    position = 0
    for stem in _STEM.finditer(lowered):
        if stem.start() < position:
            continue
        before = text[max(0, stem.start() - _LONGEST) : stem.start()]
        match = _ASSIGNED.match(text, stem.start() - len(before) + len(before.rstrip(_IN_NAMES)))
        if match:
            position = match.end()
            if _holds_secret(text, match):
                end = _end_of_value(text, match)
                yield position, end
                position = end
    yield from (match.span("value") for match in _IN_QUERY.finditer(text))


@functools.lru_cache(maxsize=4096)
def _kind(name: str) -> str:
    """Return what `name` holds: "secret", "header", "cookies", "key" of something, or nothing."""
    name = name.lower().strip("-.")
    if name in ("cookie", "set-cookie"):
        return "cookies"
    if name.endswith("authorization"):
        return "header"
    if name == "key":
        return "key"
    return "secret" if is_secret_key(name) else ""


def _holds_secret(text: str, match: re.Match[str]) -> bool:
    kind = _kind(match["key"])
    if kind == "key":
        before = text[max(0, match.start() - 12) : match.start()]
        return before[-1:] == " " and is_secret_key(before.strip().rpartition(" ")[2] + "_key")
    return bool(kind) and (kind != "cookies" or bool(_COOKIES.match(text, match.end())))


def _end_of_value(text: str, match: re.Match[str]) -> int:
    """Return where the value behind a secret's name ends; its start where there is none."""
    start, kind = match.end(), _kind(match["key"])
    if text.startswith(MASK, start):
        return start + len(MASK)
    whole = {"cookies": _COOKIES, "header": _HEADER}.get(kind, _QUOTED).match(text, start)
    if whole:
        return whole.end()
    plain = _PLAIN.match(text, start)
    if not plain or plain[0].lower() in _NO_SECRETS:
        return start
    if match["sign"] == " = " and _begins_line(text, match.start()):
        line = _LINE.match(text, start)
        return line.end() if line else start
    return start if ":" in match["sign"] and _is_prose(text, plain) else plain.end()


def _begins_line(text: str, start: int) -> bool:
    return bool(_LINE_START.search(text[max(0, start - 9) : start]))


def _is_prose(text: str, value: re.Match[str]) -> bool:
    """Whether `value` is the first word of a sentence: ``users.password: with a NUL``."""
    return bool(_WORD.fullmatch(value[0]) and _MORE_WORDS.match(text, value.end()))


def _after_options(text: str) -> Iterator[Span]:
    """Find the argument of an option with the name of a secret: ``--password x``."""
    if "--" not in text:
        return
    for match in _LONG_OPTION.finditer(text):
        if is_secret_key(match["key"]):
            value = _QUOTED.match(text, match.end()) or _PLAIN.match(text, match.end())
            if value and not _is_prose(text, value):
                yield match.end(), value.end()


def _pairs(text: str) -> Iterator[Span]:
    """Find the password of ``user:password@host`` without a scheme, but no mail address."""
    if "@" not in text:
        return
    for match in _PAIR.finditer(text):
        before = text[max(0, match.start() - _LONGEST) : match.start()]
        rest = before.rstrip(_IN_NAMES + "+")
        user = before[len(rest) :]
        is_label = user.lower().replace("-", "") in _LABELS
        if user and not user.isdigit() and not is_label and rest[-1:] not in ("/", "@", ":"):
            yield match.span("value")


def _literals(text: str) -> Iterator[Span]:
    for literal, pattern in _BY_LITERAL:
        if literal in text:
            yield from (match.span("value") for match in pattern.finditer(text))
    for option, pattern, programs in _BY_PROGRAM:
        if option in text and any(program in text for program in programs):
            for match in pattern.finditer(text):
                before = text[max(0, match.start() - _NEAR) : match.start()].rpartition("\n")[2]
                if any(program in before for program in programs):
                    yield match.span("value")
    if ")=(" in text:
        for match in _KEY_OF_ROW.finditer(text):
            if any(map(is_secret_key, match["columns"].split(","))):
                yield match.span("value")


_FINDERS: tuple[Callable[[str], Iterator[Span]], ...] = (
    _in_urls,
    _assigned,
    _after_options,
    _pairs,
    _literals,
)
