"""A link to a cloud, made of loopback: each way of each connection has a delay and a bandwidth.

python -m benchmarks.slow_proxy PORT TARGET_PORT DELAY_MS MIB_PER_S
"""

from __future__ import annotations

import asyncio
import contextlib
import sys

_CHUNK = 64 << 10
_ON_THE_WAY = 64  # chunks of a connection that may be on their way at once


async def _one_way(reader, writer, delay_s: float, rate: float) -> None:
    """Hand bytes on, each chunk as late as the link would."""
    queue: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(_ON_THE_WAY)
    loop = asyncio.get_running_loop()

    async def take() -> None:
        free_at = loop.time()
        while chunk := await reader.read(_CHUNK):
            free_at = max(free_at, loop.time()) + len(chunk) / rate
            await queue.put((free_at + delay_s, chunk))
        await queue.put((0.0, b""))

    async def give() -> None:
        while (due := await queue.get())[1]:
            await asyncio.sleep(max(due[0] - loop.time(), 0))
            writer.write(due[1])
            await writer.drain()
        writer.write_eof()

    with contextlib.suppress(OSError, RuntimeError):  # either side may close whenever it likes
        await asyncio.gather(take(), give())


async def serve(port: int, target: int, delay_s: float, rate: float) -> None:
    """Pass every connection on, until this process is ended. rate: bytes per second."""

    async def connection(reader, writer) -> None:
        there_reader, there_writer = await asyncio.open_connection("127.0.0.1", target, limit=4 * _CHUNK)
        ways = ((reader, there_writer), (there_reader, writer))
        await asyncio.gather(*(_one_way(*way, delay_s, rate) for way in ways))
        writer.close()
        there_writer.close()

    server = await asyncio.start_server(connection, "127.0.0.1", port, limit=4 * _CHUNK)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]) / 1e3, float(sys.argv[4]) * (1 << 20)))
