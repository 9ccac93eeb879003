"""asyncio_datagrams.py server|client ADDRESS PORT: echo of UDP by asyncio's datagram endpoints."""

import asyncio
import sys

from content import content, sha256

SIZES = (*range(1, 1400, 7), 1452, 1453, 1472, 1473, 9000)  # whole, and in fragments; asyncio sends none of 0


class Echo(asyncio.DatagramProtocol):
    def connection_made(self, transport):
        self.transport = transport

    def datagram_received(self, data, address):
        self.transport.sendto(data, address)


class Client(asyncio.DatagramProtocol):
    def __init__(self):
        self.received = asyncio.Queue()

    def datagram_received(self, data, address):
        self.received.put_nowait((data, address))

    def error_received(self, error):
        self.received.put_nowait((error, None))


async def serve(address, port):
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(Echo, local_addr=(address, port))
    print("ready", flush=True)
    try:
        await asyncio.Event().wait()
    finally:
        transport.close()


async def ask(address, port):
    loop = asyncio.get_running_loop()
    transport, client = await loop.create_datagram_endpoint(Client, remote_addr=(address, port))
    got = []
    async with asyncio.timeout(30):
        for size in (*SIZES, 65527 if ":" in address else 65507):
            transport.sendto(content(size))
            data, source = await client.received.get()
            assert source[:2] == (address, port), source
            got.append(data)
    print(f"sha256={sha256(b''.join(got))}")
    transport.close()
    transport, client = await loop.create_datagram_endpoint(Client, remote_addr=(address, port + 1))
    async with asyncio.timeout(10):
        transport.sendto(b"nobody is there")
        error, _ = await client.received.get()
    print(f"refused={type(error).__name__}")
    transport.close()


if __name__ == "__main__":
    side, address, port = sys.argv[1:]
    asyncio.run((serve if side == "server" else ask)(address, int(port)))
