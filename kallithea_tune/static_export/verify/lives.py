"""How long a file may be cached: for good if its URL can have no other content, else not at all."""

from __future__ import annotations

import re
from typing import Iterator, Mapping
from urllib.parse import quote

from kallithea_tune.static_export.release.manifest import Manifest, Published

LONG_LIFE = 30 * 86400  # seconds; how long what lasts must be cacheable at least
# A version that never was: under it, nothing lasts.
NO_VERSION = "0.0.0"


def judge_life(headers: Mapping[str, str], lasting: bool) -> Iterator[str]:
    """Yield what is wrong with the lifetime of a response. Pure.

    What does not last is revalidated before each use, for an edited theme is to be seen at once.
    """
    text = headers.get("cache-control", "")
    if "max-age" not in text and "no-cache" not in text:
        yield f"has no lifetime, so browsers guess one (cache-control: {text or 'none'})"
    elif lasting and max_age(headers) < LONG_LIFE:
        yield (
            "may not be cached for a month, although its content is proven to be that of its "
            f"version (cache-control: {text})"
        )
    elif not lasting and "no-cache" not in text and max_age(headers):
        yield (
            f"may be used for {max_age(headers)} s without revalidation, although its content may "
            f"change (cache-control: {text})"
        )


def queries(item: Published, release: Manifest) -> dict[str, bool]:
    """Return the queries with which a file is requested, and whether it lasts at each URL. Pure."""
    named = {f"?ver={quote(release.version)}": item.lasting}
    # Only what may last can last under the wrong version.
    return {"": False, **named, **({f"?ver={NO_VERSION}": False} if item.lasting else {})}


def max_age(headers: Mapping[str, str]) -> int:
    """Return the seconds of ``max-age`` or ``s-maxage``, the longer one; 0 where there is none."""
    found = re.findall(r"(?:max-age|s-maxage)=(\d+)", headers.get("cache-control", ""))
    return max(map(int, found), default=0)
