"""The WSGI server, its processes and limits, page times, and static files."""
