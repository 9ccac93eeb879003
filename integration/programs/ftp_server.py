"""ftp_server.py ADDRESS PORT FOLDER FIRST LAST: pyftpdlib; its passive ports are FIRST to LAST."""

import sys

from pyftpdlib.authorizers import DummyAuthorizer
from pyftpdlib.handlers import FTPHandler
from pyftpdlib.servers import FTPServer


class Handler(FTPHandler):
    permit_foreign_addresses = True  # behind a NAT of --link user the data comes from where the control does not
    banner = "ready"


if __name__ == "__main__":
    address, port, folder, first, last = sys.argv[1:]
    authorizer = DummyAuthorizer()
    authorizer.add_user("user", "secret", folder, perm="elradfmw")
    Handler.authorizer = authorizer
    Handler.passive_ports = range(int(first), int(last) + 1)
    server = FTPServer((address, int(port)), Handler)
    print("ready", flush=True)
    server.serve_forever()
