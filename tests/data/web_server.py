"""A web server of the files of a folder, with range requests and an archive like DANDI, that counts what it sends."""

import json
import threading
import time
from contextlib import contextmanager
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

DANDISET = "/api/dandisets/000123/versions/draft/assets/"


class Server(ThreadingHTTPServer):
    """``sent``: bytes of files; ``failing``: requests of files that are answered with this status; ``late`` [s] of delay."""

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.folder, self.sent, self.ranges, self.failing, self.late, self.page = folder, 0, True, 0, 0.0, 1
        self.url = f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, request, client_address):
        pass  # clients that gave up


class Handler(BaseHTTPRequestHandler):
    """Answers GET."""

    protocol_version = "HTTP/1.1"
    server: Server

    def log_message(self, *_):
        pass

    def do_GET(self):
        time.sleep(self.server.late)
        path = urlsplit(self.path).path
        if path == DANDISET:
            self._answer(200, json.dumps(self._assets()).encode())
        elif path.startswith("/api/assets/"):
            self._answer(302, b"", Location=f"{self.server.url}/{path.split('/')[3].replace('~', '/')}?signature=secret")
        elif self.server.failing or not (self.server.folder / path.strip("/")).is_file():
            self._answer(self.server.failing or 404, b"no")
        else:
            self._send_file((self.server.folder / path.strip("/")).read_bytes())

    def _assets(self):
        page = int(parse_qs(urlsplit(self.path).query).get("page", ["1"])[0])
        files = sorted(path for path in self.server.folder.rglob("*") if path.is_file())
        shown = files[(page - 1) * self.server.page : page * self.server.page]
        names = [path.relative_to(self.server.folder).as_posix() for path in shown]
        digests = [{"digest": {"dandi:sha2-256": sha256(path.read_bytes()).hexdigest()}} for path in shown]
        more = page * self.server.page < len(files)
        results = [{"asset_id": n.replace("/", "~"), "path": n, "metadata": d} for n, d in zip(names, digests, strict=True)]
        return {"next": f"{self.server.url}{DANDISET}?page={page + 1}" if more else None, "results": results}

    def _send_file(self, content):
        wanted = self.headers.get("Range") if self.server.ranges else None
        if wanted is None:
            self.server.sent += len(content)
            self._answer(200, content)
            return
        start, stop = (int(part) for part in wanted.removeprefix("bytes=").split("-"))
        part = content[start : stop + 1]
        self.server.sent += len(part)
        self._answer(206, part, **{"Content-Range": f"bytes {start}-{start + len(part) - 1}/{len(content)}"})

    def _answer(self, status, content, **headers):
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)


@contextmanager
def serve(folder: Path):
    """Serve a folder while the block runs."""
    server = Server(folder)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
