"""Serve a folder's files by a stack of its own: ordinary code, run by pystack.

python -m pystack.run --publish 8000:80 examples/serve.py . 80
"""

import sys
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer


def main(folder, port):
    with ThreadingHTTPServer(("", int(port)), partial(SimpleHTTPRequestHandler, directory=folder)) as server:
        print(f"serving {folder} on port {server.server_port}", flush=True)
        server.serve_forever()


if __name__ == "__main__":
    main(*sys.argv[1:])
