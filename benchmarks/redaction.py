"""How much CPU time redacting 10 MB takes, for texts of several shapes.

usage: redaction.py [MEGABYTES]
"""

from __future__ import annotations

import sys
import time

from kallithea_tune.config.redact import Redactor, secrets_of

LOG = (
    "2026-11-26 18:00:01,123 INFO  [kallithea.lib.auth] user admin from 192.0.2.7: GET "
    "http://kallithea.example.com/group/repo/files/tip/setup.py?at=default HTTP/1.1 200 5120\n"
    "2026-11-26 18:00:01,456 DEBUG [sqlalchemy.engine.base.Engine] SELECT users.user_id AS "
    "users_user_id, users.api_key AS users_api_key FROM users WHERE users.username = 'admin'\n"
    '  File "/srv/kallithea/venv/lib/python3.8/site-packages/kallithea/lib/base.py", line 12, '
    "in __call__\n    return self.app(environ, start_response)\n"
)
SHAPES = {
    "a real log": LOG,
    "a log with secrets": LOG + "cannot connect to postgresql://kal:p%40ss-number-7@db/kal\n",
    "one long word": "x",
    "equal signs": "=",
    "assignments": "name=value ",
    "passwords": "password=word ",
    "scheme separators": "://",
    "URLs": "http://example.com/page ",
    "URLs with passwords": "amqp://me:word@example.com/ ",
    "single quotes": "'",
    "double quotes": '"',
    "at signs": "@",
    "user:password@": "a:b@",
    "percent signs": "%",
    "percent-encoded": "%41%2f",
    "backslashes": "\\",
    "escaped quotes": '\\"',
    "colons": ":",
    "blanks": " ",
    "lines": "\n",
    "letters of many alphabets": "\u00e9\u4e2d\U0001f600 ",
}


def main() -> None:
    """Print the seconds for each shape, with thirty secrets as a real instance has them."""
    size = int(1e6 * float(sys.argv[1] if len(sys.argv) > 1 else 10))
    settings = {f"password{number}": f"p@ss-number-{number}" for number in range(30)}
    redactor = Redactor(secrets_of(settings))
    for name, shape in SHAPES.items():
        text = shape * (size // len(shape))
        started = time.process_time()
        redactor.text(text)
        print(f"{name:<28} {time.process_time() - started:6.2f} s")


if __name__ == "__main__":
    main()
