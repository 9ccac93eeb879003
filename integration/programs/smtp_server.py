"""smtp_server.py ADDRESS PORT CHAIN: aiosmtpd with STARTTLS; prints the sha256 of each message that it takes."""

import asyncio
import ssl
import sys

from aiosmtpd.smtp import SMTP
from content import sha256


class Taker:
    async def handle_DATA(self, server, session, envelope):
        secure = session.ssl is not None
        print(f"{envelope.rcpt_tos[0].partition('@')[0]}={secure} {sha256(envelope.content)}", flush=True)
        return "250 OK"


async def main(address, port, chain):
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(chain)
    make = lambda: SMTP(Taker(), hostname="mail.example", tls_context=context)  # noqa: E731
    server = await asyncio.get_running_loop().create_server(make, address, port)
    print("ready", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    address, port, chain = sys.argv[1:]
    asyncio.run(main(address, int(port), chain))
