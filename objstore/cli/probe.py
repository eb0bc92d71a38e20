"""Asking a proxy over HTTP whether it serves; a few lines, so that no HTTP client needs to be loaded for it."""

import asyncio
import contextlib
import ssl

HEALTH_PATH = "/-/health"
PROBE_TIMEOUT_S = 1.0


async def probe_proxy(port: int, *, tls: bool, timeout_s: float = PROBE_TIMEOUT_S) -> bool:
    """Whether the proxy on that port of 127.0.0.1 answers its health path with 200."""
    context = None
    if tls:
        # Health is asked on loopback, of a process that we started ourselves; who it is does not matter here.
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    try:
        async with asyncio.timeout(timeout_s):
            reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
            try:
                writer.write(f"GET {HEALTH_PATH} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n".encode())
                status = await reader.readline()
            finally:
                writer.close()
                with contextlib.suppress(OSError):
                    await writer.wait_closed()
    except (OSError, TimeoutError):
        return False
    return status.split(b" ")[1:2] == [b"200"]
