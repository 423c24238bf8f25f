"""Finds known secrets in a text, however they are quoted, encoded or wrapped there.

Text and secrets are reduced to what all spellings have in common: escapes are decoded in place, and
quotes, backslashes, plus and percent signs, blanks and line ends are left out. One search for each
secret then finds all of them, in a time that grows with the length of the text only.
"""

from __future__ import annotations

import base64
import itertools
import json
import re
from array import array
from html.entities import html5
from typing import Iterable, Iterator, NamedTuple, Sequence
from urllib.parse import quote, unquote, unquote_plus

from kallithea_tune.config.secret_patterns import MASK, Span, joined

# Values up to this length ("no", "25") would mask innocent text: they are masked in quotes only.
SHORT = 3
# So many characters of Base64 have to depend on the secret alone; fewer occur by chance.
_LEAST_BASE64 = 6
_LONGEST_BASE64 = 1000  # what is masked on both sides of them

_NOISE = bytes(range(33)) + b"\x7f\\'\"+%"
_KEPT = bytes(code not in _NOISE for code in range(256))
_ESCAPES = re.compile(
    # From the first of a run only: anything else would take a time that grows with its square.
    rb"(?<!%)%+(?:25)*(?P<percent>[0-9A-Fa-f]{2})"
    rb"|(?<!\\)\\+(?:x(?P<byte>[0-9A-Fa-f]{2})|(?P<octal>[0-3][0-7]{2})"
    rb"|u(?P<high>[dD][89abAB][0-9A-Fa-f]{2})\\+u(?P<low>[dD][c-fC-F][0-9A-Fa-f]{2})"
    rb"|u(?P<short>[0-9A-Fa-f]{4})|U(?P<long>[0-9A-Fa-f]{8})|(?P<control>[abfnrtv0e]))"
    rb"|&(?:amp;)*(?:#(?P<decimal>[0-9]{1,7})|#[xX](?P<hex>[0-9A-Fa-f]{1,6})"
    rb"|(?P<entity>[A-Za-z]{2,24}));"
)
# Between two characters of a secret that has nothing there: what quoting adds, or a line end.
_ADDED = re.compile(rb"[\\'\"%\0]*|[\s\0]*\n[\s\0]*")
_BASE64 = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=_-"


class _Reduced(NamedTuple):
    """What all spellings of a secret have in common.

    `gaps` has for each of its bytes but the last whether the secret had something in behind it that
    was left out; it is empty where there was nothing anywhere.
    """

    value: bytes
    gaps: tuple[bool, ...]


class _Secret(NamedTuple):
    """One secret: its usual spellings, longest first, and what it is searched for by."""

    spellings: tuple[str, ...]
    reductions: tuple[_Reduced, ...]


class KnownSecrets:
    """Masks the secret values that it was made with."""

    def __init__(self, secrets: Iterable[str]) -> None:
        values = sorted(
            {value for value in secrets if value}, key=lambda value: (-len(value), value)
        )
        long = [value for value in values if len(value) > SHORT]
        # Longest first, so that a secret that contains another is masked completely.
        self._secrets = [
            _Secret(_spellings(value), tuple(sorted(set(_reductions(value))))) for value in long
        ]
        self._coded = sorted({coded for value in long for coded in _in_base64(value)})
        quoted = "|".join(
            re.escape(spelling) for value in values[len(long) :] for spelling in _spellings(value)
        )
        self._short = re.compile(rf"(?P<quote>['\"])(?:{quoted})(?P=quote)") if quoted else None

    def masked(self, text: str) -> str:
        """Return `text` with ``***`` in place of every secret."""
        if self._short:
            text = self._short.sub(rf"\g<quote>{MASK}\g<quote>", text)
        if not self._secrets:
            return text
        data = text.encode("utf-8", "surrogatepass")
        present = _present(self._secrets, data)
        if present:
            # What stands there as it is, even where what precedes looks like a part of it.
            for secret in present:
                for spelling in secret.spellings:
                    text = text.replace(spelling, MASK)
            data = text.encode("utf-8", "surrogatepass")
        unescaped = _unescaped(data)
        if unescaped != data:
            present = self._secrets
        pieces, last = [], 0
        for start, end in joined(self._spans(present, unescaped)):
            start, end = _whole_characters(data, max(start, last), end)
            pieces += [data[last:start], MASK.encode()]
            last = end
        if not pieces:
            return text
        return b"".join([*pieces, data[last:]]).decode("utf-8", "surrogatepass")

    def _spans(self, secrets: Sequence[_Secret], data: bytes) -> list[Span]:
        """Return where `secrets`, and any in Base64, are in `data` with its escapes decoded."""
        text = data.translate(None, _NOISE)
        found = [
            item
            for secret in secrets
            for item in secret.reductions
            if len(item.value) > SHORT and item.value in text
        ]
        coded = [value for value in self._coded if value in text]
        if not found and not coded:
            return []
        places = array("Q", itertools.compress(range(len(data)), data.translate(_KEPT)))
        spans = []
        for item in found:
            length = len(item.value)
            for start in _occurrences(item.value, text):
                if _is_spelling(item, data, places[start : start + length]):
                    spans.append((places[start], places[start + length - 1] + 1))
        for value in coded:
            for start in _occurrences(value, text):
                spans.append(_whole_base64(data, places[start], places[start + len(value) - 1]))
        return [(_start_of_escape(data, start), end) for start, end in spans]


def _present(secrets: Sequence[_Secret], data: bytes) -> list[_Secret]:
    """Return those of `secrets` that may be in `data` without any escapes."""
    text = data.translate(None, _NOISE)
    return [secret for secret in secrets if any(item.value in text for item in secret.reductions)]


def _spellings(secret: str) -> tuple[str, ...]:
    """Return `secret` as it is and as URLs, JSON and Python write it, longest first."""
    decoded = {secret, unquote(secret), unquote_plus(secret)}
    encoded = {quote(value, safe="", errors="replace") for value in decoded}
    escaped = {write(value)[1:-1] for value in decoded for write in (repr, json.dumps)}
    spellings = {value for value in decoded | encoded | escaped if value}
    return tuple(sorted(spellings, key=lambda value: (-len(value), value)))


def _reductions(secret: str) -> Iterator[_Reduced]:
    """Yield what a text is searched for: a backslash may be one of the secret or of its quoting."""
    for value in {secret, unquote(secret)}:
        # Python's ascii() and URLs of old write some characters as in Latin-1.
        for codings in (("utf-8", "utf-8"), ("latin-1", "utf-8")):
            data = b"".join(
                letter.encode(codings[ord(letter) > 0xFF], "surrogatepass") for letter in value
            )
            yield _reduced(data)
            yield _reduced(_unescaped(data))


def _reduced(data: bytes) -> _Reduced:
    places = list(itertools.compress(range(len(data)), data.translate(_KEPT)))
    gaps = tuple(bool(data[one + 1 : two].strip(b"\0")) for one, two in zip(places, places[1:]))
    return _Reduced(data.translate(None, _NOISE), gaps if any(gaps) else ())


def _in_base64(secret: str) -> Iterator[bytes]:
    """Yield the characters that depend on `secret` alone, for each place in a group of three.

    And what hexadecimal digits make of it.
    """
    data = secret.encode("utf-8", "surrogatepass")
    yield data.hex().encode()
    for before, skipped in ((0, 0), (1, 2), (2, 3)):
        complete = (before + len(data)) * 8 // 6
        coded = base64.b64encode(bytes(before) + data)[skipped:complete]
        if len(coded) >= _LEAST_BASE64:
            yield coded.translate(None, _NOISE)
            yield coded.replace(b"+", b"-").replace(b"/", b"_")


def _unescaped(data: bytes) -> bytes:
    """Return `data`, of the same length, with escapes decoded in place."""
    if b"%" in data or b"\\" in data or b"&" in data:
        return _ESCAPES.sub(_decoded, data)
    return data


def _decoded(match: re.Match[bytes]) -> bytes:
    """Return what an escape stands for, filled up with NUL to its own length."""
    kind = match.lastgroup or ""
    code = match[kind]
    if kind in ("percent", "byte"):
        value = bytes([int(code, 16)])
    elif kind == "octal":
        value = bytes([int(code, 8)])
    elif kind == "low":
        value = _utf8(0x10000 + ((int(match["high"], 16) & 0x3FF) << 10) + (int(code, 16) & 0x3FF))
    elif kind in ("short", "long", "hex"):
        value = _utf8(int(code, 16))
    elif kind == "decimal":
        value = _utf8(int(code))
    elif kind == "entity":
        value = html5.get(code.decode() + ";", "").encode() or b"&" + code + b";"
    else:
        value = b""
    return value.rjust(len(match[0]), b"\0")


def _utf8(code: int) -> bytes:
    return chr(code).encode("utf-8", "surrogatepass") if code < 0x110000 else b""


def _occurrences(value: bytes, text: bytes) -> Iterator[int]:
    place = text.find(value)
    while place >= 0:
        yield place
        place = text.find(value, place + len(value))


def _is_spelling(item: _Reduced, data: bytes, places: Sequence[int]) -> bool:
    """Whether what is between the bytes found is there in the secret, or comes from quoting."""
    if places[-1] - places[0] == len(places) - 1:
        return not item.gaps
    for number, (one, two) in enumerate(zip(places, places[1:])):
        if item.gaps and item.gaps[number]:
            if two == one + 1:
                return False
        elif two > one + 1 and not _ADDED.fullmatch(data, one + 1, two):
            return False
    return True


def _start_of_escape(data: bytes, start: int) -> int:
    while start and not data[start - 1]:
        start -= 1
    return start


def _whole_base64(data: bytes, first: int, last: int) -> Span:
    before = data[max(0, first - _LONGEST_BASE64) : first]
    after = data[last + 1 : last + 1 + _LONGEST_BASE64]
    return (
        first - len(before) + len(before.rstrip(_BASE64)),
        last + 1 + len(after) - len(after.lstrip(_BASE64)),
    )


def _whole_characters(data: bytes, start: int, end: int) -> Span:
    while start and data[start] & 0xC0 == 0x80:
        start -= 1
    while end < len(data) and data[end] & 0xC0 == 0x80:
        end += 1
    return start, end
