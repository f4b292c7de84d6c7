"""Runs localstripe on a free port of loopback until standard input ends.

Prints `listening PORT` once it does. Its own command line listens on every address and keeps its
state in /tmp across runs; this one does neither.
"""

import asyncio
import sys

import localstripe.resources
from aiohttp import web
from localstripe.server import app

localstripe.resources.Store.dump_to_disk = lambda self: None


async def main():
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    print("listening", port, flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    await runner.cleanup()


asyncio.run(main())
