"""aiohttp_server.py ADDRESS PORT: bytes, uploads and a WebSocket by aiohttp's server."""

import hashlib
import sys

from aiohttp import WSMsgType, web
from content import content


async def give(request):
    return web.Response(body=content(int(request.match_info["size"])))


async def take(request):
    digest = hashlib.sha256()
    async for piece in request.content.iter_chunked(1 << 16):
        digest.update(piece)
    return web.Response(text=digest.hexdigest())


async def talk(request):
    socket = web.WebSocketResponse()
    await socket.prepare(request)
    async for message in socket:
        if message.type == WSMsgType.BINARY:
            await socket.send_bytes(message.data)
    return socket


app = web.Application()
app.add_routes([web.get("/bytes/{size}", give), web.post("/", take), web.get("/talk", talk)])

if __name__ == "__main__":
    address, port = sys.argv[1:]
    web.run_app(app, host=address, port=int(port))  # says "Running on" when it listens
