"""A web server that takes messages, or does not."""

import asyncio

from aiohttp import web


class Webhook:
    """Keeps the JSON that is posted to it and answers with `status`; while `silent`, it never answers."""

    def __init__(self, *, status=200, silent=False):
        self.status = status
        self.silent = silent
        self.posts = []
        self._closing = asyncio.Event()

    async def __aenter__(self):
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._take)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.port = self._runner.addresses[0][1]
        return self

    async def __aexit__(self, *_):
        self._closing.set()
        await self._runner.cleanup()

    async def _take(self, request):
        self.posts.append(await request.json())
        if self.silent:
            await self._closing.wait()
        return web.Response(status=self.status, headers={"Location": "/elsewhere"} if self.status // 100 == 3 else {})
