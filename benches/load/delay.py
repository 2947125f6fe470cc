"""A TCP forwarder that holds every byte back for half a round trip in each direction: a distant relay on one machine.

delay.py LISTEN_PORT TARGET_PORT ROUND_TRIP_SECONDS

For machines whose kernel has no netem. It delays and never drops, so it says nothing about congestion.
"""
import asyncio
import sys

LISTEN, TARGET, HALF = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]) / 2


async def pump(reader, writer):
    loop = asyncio.get_running_loop()
    queue = asyncio.Queue()

    async def receive():
        while data := await reader.read(65536):
            queue.put_nowait((loop.time() + HALF, data))
        queue.put_nowait((loop.time() + HALF, b""))

    receiving = asyncio.create_task(receive())
    try:
        while True:
            due, data = await queue.get()
            await asyncio.sleep(due - loop.time())
            if not data:
                writer.write_eof()
                return
            writer.write(data)
            await writer.drain()
    finally:
        receiving.cancel()


async def connected(reader, writer):
    target_reader, target_writer = await asyncio.open_connection("127.0.0.1", TARGET)
    await asyncio.gather(pump(reader, target_writer), pump(target_reader, writer), return_exceptions=True)
    writer.close()
    target_writer.close()


async def main():
    server = await asyncio.start_server(connected, "127.0.0.1", LISTEN)
    await server.serve_forever()


asyncio.run(main())
