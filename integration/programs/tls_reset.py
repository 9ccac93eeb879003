"""tls_reset.py ADDRESS CHAIN CA: a TLS connection of which the server resets TCP; what the client's next read says."""

import socket
import ssl
import struct
import sys
import threading

from versions import family

address, chain, ca = sys.argv[1:]
listener = socket.create_server((address, 0), family=family(address))


def serve():
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain)
    connection, _ = listener.accept()
    secure = context.wrap_socket(connection, server_side=True)
    secure.sendall(b"hello")
    secure.recv(1)
    secure.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    secure.close()


server = threading.Thread(target=serve)
server.start()
context = ssl.create_default_context(cafile=ca)
with context.wrap_socket(socket.create_connection(listener.getsockname()[:2]), server_hostname="localhost") as client:
    print(f"first={client.recv(100)!r}")
    client.sendall(b"x")
    server.join()
    try:
        print(f"then={client.recv(100)!r}")
    except OSError as error:
        print(f"then={type(error).__name__}")
