"""What is left of a connection that is given up before it stands: nothing."""

import asyncio
import gc

from chassis.jetstream import Nats


async def test_whoever_leaves_while_the_server_says_nothing_leaves_no_socket_behind() -> None:
    came, left = asyncio.Event(), asyncio.Event()

    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        came.set()
        await reader.read()
        left.set()
        writer.close()

    async with await asyncio.start_server(say_nothing, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        nats = Nats(f"nats://127.0.0.1:{port}", "test")
        await asyncio.wait_for(came.wait(), 5)

        await nats.close()
        await asyncio.wait_for(left.wait(), 5)

    gc.collect()  # an open one is told of here, as an error
