"""The floor: aiohttp and uvloop as alertbot sets them up, and a handler that reads the body and does nothing."""

from __future__ import annotations

import asyncio

import uvloop
from aiohttp import web


async def nothing(request: web.Request) -> web.Response:
    await request.read()
    return web.Response(body=b'{"accepted": 0, "set_aside": 0}', content_type="application/json")


async def serve() -> None:
    app = web.Application(client_max_size=64 * 1024 * 1024)
    app.router.add_post("/webhooks/alertmanager", nothing)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(serve())
