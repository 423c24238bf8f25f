"""Requests to the running web server, compared with the release."""
