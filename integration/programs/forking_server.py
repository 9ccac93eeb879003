"""forking_server.py ADDRESS PORT: echo by `socketserver.ForkingTCPServer`, a process for each connection."""

import os
import socketserver
import sys

from versions import family


class Echo(socketserver.BaseRequestHandler):
    def handle(self):
        # In one piece: unbuffered, print writes the end of a line on its own, and a sibling may come between.
        print(f"child {os.getpid()} of {os.getppid()}\n", end="", flush=True)
        while piece := self.request.recv(1 << 16):
            self.request.sendall(piece)


class Server(socketserver.ForkingTCPServer):
    allow_reuse_address = True
    request_queue_size = 64
    max_children = 100


if __name__ == "__main__":
    address, port = sys.argv[1:]
    Server.address_family = family(address)
    with Server((address, int(port)), Echo) as server:
        print("ready", flush=True)
        server.serve_forever()
