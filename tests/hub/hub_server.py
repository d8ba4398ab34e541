"""A hub on loopback: the part of the Hugging Face Hub's protocol that its client needs, and every way to fail."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

COMMIT = "c0ffee" + 34 * "0"


class Hub(ThreadingHTTPServer):
    """Repositories, and what shall go wrong.

    Attributes
    ----------
    files : dict of str to bytes
        Of the repository.
    large : set of str
        Files that are announced by SHA-256, as Git LFS does; the others by Git's own hash.
    fault : str
        Of the bodies: ``"other bytes"``, ``"cut"``, ``"slow"``, ``"hangs"``, ``"redirect"``; of every answer: a status.
    repo : str
        Name of the only repository.
    asked : list of str
        Paths of all requests.
    """

    daemon_threads = True
    block_on_close = False

    def __init__(self, files: dict[str, bytes]) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files, self.large, self.fault, self.commit = files, {"model.onnx", "onnx/model.onnx"}, "", COMMIT
        self.repo, self.asked = "owner/repo", list[str]()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    """Answers one request."""

    protocol_version = "HTTP/1.1"
    server: Hub

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        path = self.path.partition("?")[0].strip("/")
        if self.server.fault.isdigit():
            self._send(b'{"error": "as the test wants it"}', int(self.server.fault))
        elif path.startswith(f"api/models/{self.server.repo}/revision/"):
            self._send(json.dumps(self._listing()).encode())
        elif path.startswith(f"{self.server.repo}/resolve/") and (name := path.split("/", 4)[-1]) in self.server.files:
            self._file(name)
        elif path.startswith("elsewhere/"):
            self._send(self.server.files[path.partition("/")[2]])
        else:
            self._send(b'{"error": "Repository not found"}', 404, {"X-Error-Code": "RepoNotFound"})

    def _listing(self) -> dict[str, Any]:
        siblings = [
            {"rfilename": name, "size": len(data), **self._hash(name)} for name, data in self.server.files.items()
        ]
        return {"id": self.server.repo, "sha": self.server.commit, "siblings": siblings}

    def _hash(self, name: str) -> dict[str, Any]:
        data = self.server.files[name]
        if name in self.server.large:
            return {"lfs": {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 130}}
        return {"blobId": hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()}

    def _file(self, name: str) -> None:
        data, fault = self.server.files[name], self.server.fault
        headers = {"ETag": f'"{hashlib.sha256(data).hexdigest()}"', "X-Repo-Commit": self.server.commit}
        if fault == "redirect":
            sizes = {"X-Linked-Size": str(len(data)), "X-Linked-Etag": headers["ETag"]}
            self._send(
                b"",
                302,
                {**headers, **sizes, "Location": f"http://localhost:{self.server.server_port}/elsewhere/{name}"},
            )
            return
        self._send(data[::-1] if fault == "other bytes" else data, headers=headers)

    def _send(self, body: bytes, status: int = 200, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for key, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command == "GET":
            self._body(body)

    def _body(self, body: bytes) -> None:
        fault = self.server.fault if "/resolve/" in self.path else ""
        if fault == "hangs":
            time.sleep(60)
        if fault == "cut":
            body, self.close_connection = body[: len(body) // 2], True
        if fault == "slow":
            for byte in body:
                self.wfile.write(bytes([byte]))
                time.sleep(0.2)
            return
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Keep quiet."""


@contextmanager
def serving(files: dict[str, bytes]) -> Iterator[Hub]:
    """Run a hub in a thread."""
    with Hub(files) as hub:
        thread = threading.Thread(target=hub.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        yield hub
        hub.shutdown()
        thread.join()
