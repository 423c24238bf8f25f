"""The ways in which programs write a secret into their output."""

from __future__ import annotations

import base64
import html
import json
import random
import shlex
from urllib.parse import quote, quote_plus


def percent_encoded(secret: str) -> str:
    """Encode some characters, as each program thinks necessary, in either case."""
    chance = random.Random(secret)
    return "".join(
        f"%{octet:02{chance.choice('xX')}}"
        if octet in b"%" or octet > 126 or chance.random() < 0.4
        # The others stand as they are.
        else chr(octet)
        for octet in secret.encode()
    )


def wrapped(secret: str) -> str:
    """Break it in the middle, as a report of 80 columns does, but not behind a backslash."""
    middle = len(secret) // 2
    while middle and secret[middle - 1] in "\\%&":
        middle -= 1
    return secret[:middle] + "\n        " + secret[middle:]


SPELLINGS = {
    "as it is": str,
    "URL": lambda secret: quote(secret, safe=""),
    "URL, path": quote,
    "form": quote_plus,
    "URL, some characters": percent_encoded,
    "URL in a URL": lambda secret: quote(quote(secret, safe=""), safe=""),
    "ini file": lambda secret: secret.replace("%", "%%"),
    "JSON": json.dumps,
    "JSON, all of Unicode": lambda secret: json.dumps(secret, ensure_ascii=False),
    "JSON in JSON": lambda secret: json.dumps(json.dumps(secret)),
    "repr": repr,
    "repr of a repr": lambda secret: repr(repr(secret)),
    "repr of bytes": lambda secret: repr(secret.encode()),
    "ascii": ascii,
    "shell": shlex.quote,
    "HTML": html.escape,
    "HTML, escaped twice": lambda secret: html.escape(html.escape(secret)),
    "XML, by number": lambda secret: "".join(f"&#{ord(letter)};" for letter in secret),
    "XML, hexadecimal": lambda secret: "".join(f"&#x{ord(letter):X};" for letter in secret),
    "SQL": lambda secret: "'{}'".format(secret.replace("'", "''")),
    "libpq": lambda secret: "'{}'".format(secret.replace("\\", "\\\\").replace("'", "\\'")),
    "Basic": lambda secret: base64.b64encode(f"user:{secret}".encode()).decode(),
    "Basic, another user": lambda secret: base64.b64encode(f"me:{secret}".encode()).decode(),
    "Base64 for URLs": lambda secret: base64.urlsafe_b64encode(f"a:{secret}".encode()).decode(),
    "hexadecimal": lambda secret: secret.encode().hex(),
    "octal": lambda secret: "".join(f"\\{octet:03o}" for octet in secret.encode()),
    "encoding errors": lambda secret: secret.encode("ascii", "backslashreplace").decode(),
    "80 columns": wrapped,
}
