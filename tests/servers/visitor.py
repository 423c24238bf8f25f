"""A person at Kallithea's pages, without a browser: logs in, and sends the forms that the tests
need sent.
"""

from __future__ import annotations

import http.cookiejar
import re
import urllib.parse
import urllib.request


class Visitor:
    """Keeps cookies; `url` is where Kallithea, or a web server before it, answers."""

    def __init__(self, url: str) -> None:
        self.url = url
        cookies = urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar())
        self._opener = urllib.request.build_opener(cookies)

    def get(self, path: str) -> str:
        """Return a page."""
        with self._opener.open(self.url + path, timeout=60) as answer:
            return str(answer.read().decode())

    def post(self, path: str, **fields: str) -> str:
        """Send a form, with the session's token against forgery; return the URL of the page that
        came.
        """
        token = re.search(r'_session_csrf_secret_token = \("(\d+)"\)', self.get("/_admin/gists"))
        if token:
            fields["_session_csrf_secret_token"] = token[1]
        data = urllib.parse.urlencode(fields).encode()
        with self._opener.open(self.url + path, data, timeout=60) as answer:
            return str(answer.geturl())

    def log_in(self) -> None:
        """Log in as the admin of the tests' instances."""
        self.post("/_admin/login", username="admin", password="demo-password")
        assert "/_admin/logout" in self.get("/")

    def open_pull_request(self, repository: str, branch: str) -> str:
        """Ask for `branch` to be pulled into the default branch of a Mercurial repository; return
        the path.
        """
        node = dict(
            re.findall(
                r'value="branch:(\w+):([0-9a-f]{40})"', self.get(f"/{repository}/pull-request/new")
            )
        )
        page = self.post(
            f"/{repository}/pull-request/new",
            org_repo=repository,
            other_repo=repository,
            org_ref=f"branch:{branch}:{node[branch]}",
            other_ref="branch:default:" + node["default"],
            pullrequest_title="Work of " + branch,
            pullrequest_desc="To be looked at.",
        )
        return page[len(self.url) :]
