"""The same answers as an ASGI application (`asgi`) and as a WSGI one (`wsgi`), for uvicorn and gunicorn."""

import asyncio
import hashlib
import os
import sys

from content import content


async def asgi(scope, receive, send):
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({"type": message["type"] + ".complete"})
            if message["type"] == "lifespan.shutdown":
                return
    path, digest = scope["path"], hashlib.sha256()
    while True:
        message = await receive()
        digest.update(message.get("body", b""))
        if not message.get("more_body"):
            break
    if path == "/loop":
        body = type(asyncio.get_running_loop()).__module__.encode()
    elif path.startswith("/bytes/"):
        body = content(int(path.removeprefix("/bytes/")))
    else:
        body = digest.hexdigest().encode()
    length = str(len(body)).encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", length)]})
    await send({"type": "http.response.body", "body": body})


def wsgi(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/worker":
        patched = getattr(sys.modules.get("gevent.monkey"), "is_module_patched", lambda name: False)
        body = f"{os.getpid()} {patched('socket')}".encode()
    elif path.startswith("/bytes/"):
        body = content(int(path.removeprefix("/bytes/")))
    else:
        digest = hashlib.sha256()
        while piece := environ["wsgi.input"].read(1 << 16):
            digest.update(piece)
        body = digest.hexdigest().encode()
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]
