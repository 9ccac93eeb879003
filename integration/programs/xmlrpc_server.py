"""xmlrpc_server.py ADDRESS PORT: `SimpleXMLRPCServer` with a few functions."""

import sys
from xmlrpc.server import SimpleXMLRPCServer

from content import sha256
from versions import family

if __name__ == "__main__":
    address, port = sys.argv[1:]
    SimpleXMLRPCServer.address_family = family(address)
    with SimpleXMLRPCServer((address, int(port)), logRequests=False, allow_none=True) as server:
        server.register_introspection_functions()
        server.register_multicall_functions()
        server.register_function(pow)
        server.register_function(lambda blob: sha256(blob.data), "sha256")
        server.register_function(lambda: 1 // 0, "fail")
        print("ready", flush=True)
        server.serve_forever()
