"""The least that aiohttp on both sides can be: passes chat completions on, nothing else. The yardstick of the stack.

No allow-list, no counting, no bounds, no errors of its own: costctl's front door is measured against it to see what
those cost.
"""

from __future__ import annotations

import argparse
import asyncio
from typing import TYPE_CHECKING

import aiohttp
import uvloop
from aiohttp import web
from multidict import CIMultiDict
from yarl import URL

if TYPE_CHECKING:
    from collections.abc import Mapping

HOP_BY_HOP = frozenset({"connection", "keep-alive", "transfer-encoding", "content-length", "host", "date", "server"})
GENERATED = ("User-Agent", "Accept", "Accept-Encoding")
Headers = CIMultiDict[str]


def end_to_end(headers: Mapping[str, str]) -> Headers:
    return CIMultiDict((name, value) for name, value in headers.items() if name.lower() not in HOP_BY_HOP)


async def relay(request: web.BaseRequest, session: aiohttp.ClientSession, upstream: URL) -> web.StreamResponse:
    body = await request.read()
    answer = await session.request(
        request.method, upstream, data=body, headers=end_to_end(request.headers), allow_redirects=False
    )
    async with answer:
        headers = end_to_end(answer.headers)
        if answer.content_length is not None:
            return web.Response(status=answer.status, headers=headers, body=await answer.read())
        response = web.StreamResponse(status=answer.status, headers=headers)
        await response.prepare(request)
        async for data in answer.content.iter_any():
            await response.write(data)
        await response.write_eof()
        return response


async def serve(port: int, upstream_port: int) -> None:
    upstream = URL(f"http://127.0.0.1:{upstream_port}/v1/chat/completions")
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0),
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=None),
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        skip_auto_headers=GENERATED,
    ) as session:
        server = web.Server(lambda request: relay(request, session, upstream), access_log=None)
        await asyncio.get_running_loop().create_server(server, "127.0.0.1", port, backlog=4096)
        await asyncio.Event().wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--upstream", type=int, required=True, help="the upstream's port")
    options = parser.parse_args()
    uvloop.run(serve(options.port, options.upstream))


if __name__ == "__main__":
    main()
