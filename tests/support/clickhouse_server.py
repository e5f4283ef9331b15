"""A ClickHouse server for tests and experiments: the engine in process (package chdb) behind ClickHouse's HTTP interface.

    clickhouse_server.py --data FOLDER [--port PORT] [--user NAME --password TEXT]

It prints `ready http://127.0.0.1:PORT` when it can be asked. What it understands: the query in the URL or the body, the
body as the data of an INSERT, settings as URL parameters, LZ4 blocks with `decompress=1`, users by header or basic
authorisation, and errors as ClickHouse tells them (`X-ClickHouse-Exception-Code`, 4xx or 5xx). Answers are not
compressed. Queries run one at a time. The data outlives the process, also when it is killed.
"""

import argparse
import base64
import os
import re
import struct
import tempfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, urlsplit

import pyarrow
from chdb import session

# Parameters of the interface that are no settings.
PARAMETERS = {
    "query", "database", "user", "password", "default_format", "compress", "decompress", "query_id", "session_id",
    "enable_http_compression", "wait_end_of_query", "buffer_size", "role", "client_protocol_version",
}
INSERT = re.compile(r"^\s*(INSERT\s+INTO\s+.*?)\s+FORMAT\s+(\w+)\s*;?\s*$", re.IGNORECASE | re.DOTALL)
FORMAT = re.compile(r"\sFORMAT\s+(\w+)\s*;?\s*$", re.IGNORECASE)
STATUS = {60: 404, 81: 404, 497: 403, 516: 403, 62: 400, 36: 400, 115: 404}


class Failed(Exception):
    def __init__(self, code, message, status=None):
        super().__init__(message)
        self.code, self.message, self.status = code, message, status or STATUS.get(code, 500)


def decompressed(data):
    """Undoes ClickHouse's blocks: a checksum of 16 bytes, a method, two lengths, the bytes."""
    out, at = [], 0
    while at < len(data):
        method, size, plain = struct.unpack_from("<BII", data, at + 16)
        block = data[at + 16 + 9 : at + 16 + size]
        if method == 0x82:
            out.append(pyarrow.decompress(block, plain, codec="lz4_raw", asbytes=True))
        elif method == 0x02:
            out.append(block)
        else:
            raise Failed(89, f"Code: 89. DB::Exception: Unknown codec {method}. (UNKNOWN_COMPRESSION_METHOD)")
        at += 16 + size
    return b"".join(out)


class Engine:
    def __init__(self, folder):
        self.session = session.Session(folder)
        self.lock = threading.Lock()

    def run(self, query, body, settings, database, default_format):
        with self.lock:
            try:
                return self.run_alone(query, body, settings, database, default_format)
            except Failed:
                raise
            except Exception as error:
                message = str(error).strip()
                code = re.search(r"Code: (\d+)", message)
                raise Failed(int(code.group(1)) if code else 1001, message) from None

    def run_alone(self, query, body, settings, database, default_format):
        self.session.query(f"USE `{database}`")
        changed = []
        path = None
        try:
            for name, value in settings:
                self.session.query("SET " + name + " = '" + value.replace("\\", "\\\\").replace("'", "\\'") + "'")
                changed.append(name)
            insert = INSERT.match(query)
            if insert and body is not None:
                with tempfile.NamedTemporaryFile(delete=False) as file:
                    path = file.name
                    file.write(body)
                query = f"{insert.group(1)} FROM INFILE '{path}' FORMAT {insert.group(2)}"
            shown = FORMAT.search(query)
            return self.session.query(query, shown.group(1) if shown else default_format).bytes() or b""
        finally:
            for name in changed:
                self.session.query(f"SET {name} = DEFAULT")
            if path:
                os.unlink(path)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # One write an answer, at once: a client would wait 40 ms for the second.
    disable_nagle_algorithm = True
    wbufsize = -1

    def log_message(self, *arguments):
        pass

    def body(self):
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            chunks = []
            while True:
                size = int(self.rfile.readline().split(b";")[0], 16)
                chunk = self.rfile.read(size)
                self.rfile.readline()
                if size == 0:
                    return b"".join(chunks)
                chunks.append(chunk)
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def check_user(self, parameters):
        user = self.headers.get("X-ClickHouse-User", parameters.get("user"))
        password = self.headers.get("X-ClickHouse-Key", parameters.get("password"))
        basic = self.headers.get("Authorization", "")
        if basic.startswith("Basic "):
            user, _, password = base64.b64decode(basic[6:]).decode().partition(":")
        user = user or "default"
        if (user, password or "") != (self.server.user, self.server.password):
            raise Failed(
                516,
                f"Code: 516. DB::Exception: {user}: Authentication failed: password is incorrect, or there is no user "
                "with such name. (AUTHENTICATION_FAILED)",
            )

    def answer(self, status, data, headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def handle_request(self):
        pairs = parse_qsl(urlsplit(self.path).query, keep_blank_values=True)
        parameters = dict(pairs)
        try:
            body = self.body() if self.command == "POST" else None
            if urlsplit(self.path).path == "/ping":
                return self.answer(200, b"Ok.\n", {})
            self.check_user(parameters)
            if body is not None and parameters.get("decompress") == "1":
                body = decompressed(body)
            query = parameters.get("query", "")
            if not query:
                query, body = (body or b"").decode(), None
            settings = [(name, value) for name, value in pairs if name not in PARAMETERS]
            form = self.headers.get("X-ClickHouse-Format", parameters.get("default_format", "TabSeparated"))
            data = self.server.engine.run(query, body, settings, parameters.get("database") or "default", form)
            self.answer(200, data, {"Content-Type": "text/plain; charset=UTF-8"})
        except Failed as error:
            headers = {"X-ClickHouse-Exception-Code": str(error.code), "Content-Type": "text/plain; charset=UTF-8"}
            self.answer(error.status, (error.message + "\n").encode(), headers)

    do_GET = do_POST = handle_request


class Server(ThreadingHTTPServer):
    daemon_threads = True


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--data", required=True)
    arguments.add_argument("--port", type=int, default=0)
    arguments.add_argument("--user", default="default")
    arguments.add_argument("--password", default="")
    arguments = arguments.parse_args()
    server = Server(("127.0.0.1", arguments.port), Handler)
    server.user, server.password = arguments.user, arguments.password
    server.engine = Engine(arguments.data)
    print(f"ready http://127.0.0.1:{server.server_address[1]}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
