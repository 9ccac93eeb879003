"""http_origin.py ADDRESS PORT [CHAIN]: `ThreadingHTTPServer` with chunks, redirects, uploads, late answers."""

import hashlib
import ssl
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from content import content
from versions import family

STOPPING = threading.Event()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self):
        what, _, number = self.path[1:].partition("/")
        getattr(self, "get_" + what)(int(number or 0))

    def get_bytes(self, size):
        self.answer(content(size))

    def get_redirect(self, left):
        self.send_response(302 if left else 200)
        if left:
            self.send_header("Location", f"/redirect/{left - 1}")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def get_chunked(self, size):
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        body = memoryview(content(size))
        at, step = 0, 1
        while at < size:
            piece = body[at : at + step]
            self.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece))
            at, step = at + step, min(step * 2 + 1, 50_000)
        self.wfile.write(b"0\r\n\r\n")

    def get_never(self, _):
        STOPPING.wait(60)
        self.close_connection = True

    def get_short(self, size):
        """Promise twice what is sent."""
        self.send_response(200)
        self.send_header("Content-Length", str(2 * size))
        self.end_headers()
        self.wfile.write(content(size))
        self.close_connection = True

    def do_POST(self):
        digest = hashlib.sha256()
        if self.headers.get("Transfer-Encoding") == "chunked":
            while size := int(self.rfile.readline(), 16):
                digest.update(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
        left = int(self.headers.get("Content-Length", 0))
        while left:
            piece = self.rfile.read1(min(left, 1 << 20))
            if not piece:
                return
            digest.update(piece)
            left -= len(piece)
        self.answer(digest.hexdigest().encode())

    def answer(self, body):
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("X-Client", self.client_address[0])
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Server(ThreadingHTTPServer):
    request_queue_size = 128


def main():
    address, port, *chain = sys.argv[1:]
    Server.address_family = family(address)
    server = Server((address, int(port)), Handler)
    if chain:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(chain[0])
        server.socket = context.wrap_socket(server.socket, server_side=True)
    print("ready", *server.server_address, flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
