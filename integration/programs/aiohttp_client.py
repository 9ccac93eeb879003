"""aiohttp_client.py URL REFUSED: downloads at once, an upload, a WebSocket, a refused port by aiohttp."""

import asyncio
import sys

import aiohttp
from content import content, sha256


async def main(url, refused):
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60)) as session:

        async def get(size):
            async with session.get(f"{url}/bytes/{size}") as answer:
                return await answer.read()

        got = await asyncio.gather(*(get(10_000 * number) for number in range(100)))
        print(f"got={sha256(b''.join(got))}")
        async with session.post(f"{url}/", data=content(20_000_000)) as answer:
            print(f"sent={await answer.text()}")
        async with session.ws_connect(f"{url}/talk") as socket:
            for size in range(0, 100_000, 997):
                await socket.send_bytes(content(size))
                assert await socket.receive_bytes() == content(size)
        print(f"closed={socket.close_code}")
        try:
            await session.get(refused)
        except aiohttp.ClientConnectorError as error:
            print(f"refused={error.os_error.errno}")


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
