"""Answers with the request it got, and its number, as JSON; /slow sends a byte, waits until /go
is requested, then sends the rest.
"""

import hashlib
import http.client
import http.server
import itertools
import json
import sys
import threading

go = threading.Event()
numbers = itertools.count(1)
# Python's own limit is 100 lines, hg sends more.
http.client._MAXHEADERS = 1000


class Echo(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        if self.path.endswith("/go"):
            go.set()
        if "/slow" in self.path:
            go.clear()
            self.send_response(200)
            self.send_header("Content-Type", "application/mercurial-0.1")
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            self.piece(b"first")
            arrived = go.wait(20)
            self.piece(b"released" if arrived else b"held back")
            self.wfile.write(b"0\r\n\r\n")
            return
        self.answer({})

    def piece(self, data):
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        self.wfile.flush()

    def do_TRACE(self):
        self.answer({})

    def do_POST(self):
        digest, size = hashlib.sha256(), 0
        for data in self.chunks():
            digest.update(data)
            size += len(data)
            if self.path.endswith("/tell") and size:
                go.set()
        self.answer({"size": size, "sha256": digest.hexdigest()})

    def chunks(self):
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            while True:
                size = int(self.rfile.readline().split(b";")[0], 16)
                data = self.rfile.read(size)
                self.rfile.readline()
                if not size:
                    return
                yield data
        left = int(self.headers.get("Content-Length", 0))
        while left:
            data = self.rfile.read1(min(left, 65536))
            left -= len(data)
            yield data

    def answer(self, more):
        said = {
            "path": self.path,
            "port": self.server.server_port,
            "number": next(numbers),
            "headers": {name.lower(): value for name, value in self.headers.items()},
            "lines": [[name.lower(), value] for name, value in self.headers.items()],
        }
        body = json.dumps({**said, **more}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *words):
        pass


if __name__ == "__main__":
    http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Echo).serve_forever()
