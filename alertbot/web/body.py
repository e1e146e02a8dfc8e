"""A request's body: bounded in size, and unpacked here.

aiohttp can unpack bodies itself, but one that breaks off within its last block it never reports to the
handler, which then waits without end. So the server is run without that (`app.make_runner`).
"""

from __future__ import annotations

import asyncio
import zlib
from typing import Final

from aiohttp import hdrs, web

from alertbot.web.errors import Refused

#: Bytes unpacked at one go: about a millisecond.
PIECE: Final = 256 * 1024
#: Seconds within which a body has to have come in. Alertmanager itself gives up after `group_interval`.
ARRIVES_WITHIN: Final = 60.0


async def read_body(request: web.Request, limit: int) -> bytes:
    """The whole body, unpacked.

    Raises `Refused`: 413 over `limit` bytes (packed or unpacked), 400 where it breaks off or does not unpack,
    408 where it does not come, 415 for a coding other than gzip and deflate.
    """
    if (request.content_length or 0) > limit:
        raise _too_large(limit)
    coding = request.headers.get(hdrs.CONTENT_ENCODING, "").strip().lower()
    if coding not in ("", "identity", "gzip", "x-gzip", "deflate"):
        raise Refused(415, "send the body plain, or packed with gzip", "Content-Encoding")
    content = request.content
    if content.is_eof():
        body = content.read_nowait()
        if len(body) > limit:
            raise _too_large(limit)
    else:
        body = await _arriving(request, limit)
    return await _unpacked(body, limit) if coding not in ("", "identity") else body


async def _arriving(request: web.Request, limit: int) -> bytes:
    pieces: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(ARRIVES_WITHIN):
            while piece := await request.content.readany():
                size += len(piece)
                if size > limit:
                    raise _too_large(limit)
                pieces.append(piece)
    except TimeoutError:
        raise Refused(408, "the body did not come in time", headers={"Connection": "close"}) from None
    except web.RequestPayloadError as e:
        raise Refused(400, f"the body cannot be read: {e}") from None
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


async def _unpacked(packed: bytes, limit: int) -> bytes:
    """Unpacks piece by piece, so that a small body cannot become a large one before it is measured."""
    if packed[:1] in (b"{", b"["):
        # It says that it is packed and is not: there is nothing to gain from refusing it.
        return packed
    unpacker = zlib.decompressobj(wbits=zlib.MAX_WBITS | 32)  # gzip or zlib, whichever it is
    pieces: list[bytes] = []
    size = 0
    try:
        while packed and not unpacker.eof:
            piece = unpacker.decompress(packed, PIECE)
            packed = unpacker.unconsumed_tail
            size += len(piece)
            if size > limit:
                raise _too_large(limit)
            pieces.append(piece)
            await asyncio.sleep(0)
    except zlib.error as e:
        raise Refused(400, f"the body does not unpack: {e}") from None
    if not unpacker.eof or unpacker.unused_data:
        raise Refused(400, "the body does not unpack: it breaks off, or goes on after its end")
    return b"".join(pieces)


def _too_large(limit: int) -> Refused:
    return Refused(413, f"the body is larger than {limit} bytes", headers={"Connection": "close"})
