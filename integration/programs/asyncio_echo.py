"""asyncio_echo.py server|client HOW ADDRESS PORT [CA or CHAIN]: echo by streams; HOW: plain, tls, starttls."""

import asyncio
import ssl
import sys

from content import content, sha256

SIZE, CLIENTS = 4_000_000, 8


async def serve(how, address, port, chain=None):
    context = None
    if chain:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(chain)

    async def echo(reader, writer):
        if how == "starttls":
            assert await reader.readline() == b"STARTTLS\n"
            writer.write(b"GO\n")
            await writer.drain()
            await writer.start_tls(context)
        while piece := await reader.read(1 << 16):
            writer.write(piece)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(echo, address, port, ssl=context if how == "tls" else None)
    print("ready", flush=True)
    async with server:
        await server.serve_forever()


async def converse(how, address, port, context, number):
    body = content(SIZE + number)
    reader, writer = await asyncio.open_connection(address, port, ssl=context if how == "tls" else None)
    if how == "starttls":
        writer.write(b"STARTTLS\n")
        assert await reader.readline() == b"GO\n"
        await writer.start_tls(context, server_hostname=address)

    async def send():
        for at in range(0, len(body), 100_003):
            writer.write(body[at : at + 100_003])
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()

    sending = asyncio.create_task(send())
    got = await reader.readexactly(len(body))
    await sending
    if how == "plain":
        assert await reader.read() == b""
    version = writer.get_extra_info("ssl_object")
    writer.close()
    await writer.wait_closed()
    return sha256(got), version and version.version()


async def ask(how, address, port, ca=None):
    context = ssl.create_default_context(cafile=ca) if ca else None
    async with asyncio.timeout(60):
        results = await asyncio.gather(
            *(converse(how, address, port, context, number) for number in range(CLIENTS)),
        )
    for number, (digest, version) in enumerate(results):
        print(f"sha256.{number}={digest}")
        print(f"version.{number}={version}")


if __name__ == "__main__":
    side, how, address, port, *pem = sys.argv[1:]
    try:
        asyncio.run((serve if side == "server" else ask)(how, address, int(port), *pem))
    except KeyboardInterrupt:
        print("interrupted")
