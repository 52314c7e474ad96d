"""Bodies on their way out and in: kept to be sent again, counted, and timed.

Decides how a body is kept for another attempt, how much of an answer is read before it is
given up, and how much of it may come. Streams are made as subclasses of what the client at
hand takes, httpx or what was forked from it, for each checks that they are its own.

Read :class:`Replay`, then :class:`Watched` and :class:`Peeked`.
"""

from __future__ import annotations

import functools
import sys
import tempfile
import weakref
import zlib
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from typing import Any, Final

__all__ = [
    "Peeked",
    "Replay",
    "Watched",
    "adrained",
    "apeeked",
    "drained",
    "like",
    "peeked",
    "replay",
]

CHUNK: Final = 65_536
IN_MEMORY: Final = 1 << 20
"""Bytes of a body that are kept in memory; what is longer lies in a temporary file."""


def like(thing: object, name: str) -> Any:
    """Return the class ``name`` of the package that a request or response is of.

    An ``Exception`` if that package has none of the name.
    """
    package = sys.modules.get(type(thing).__module__.partition(".")[0])
    return getattr(package, name, Exception)


@functools.lru_cache(maxsize=64)
def _made(kind: type[Any], stream: Any) -> Any:
    """Return ``kind`` as a stream of the client that ``stream`` is one of."""
    named = ("SyncByteStream", "AsyncByteStream")
    bases = tuple(each for each in stream.__mro__ if each.__name__ in named)
    return type(kind.__name__, (kind, *bases), {})


# -- Out -------------------------------------------------------------------------------


def replay(stream: Any, most: int) -> Any:
    """Return a stream that can be sent again; the same one if it can be anyway.

    Args:
        stream: of a request.
        most: bytes that are kept; of a longer body there is no second attempt.
    """
    if type(stream).__name__ in ("ByteStream", "Replay"):
        return stream
    return _made(Replay, stream.__class__)(stream, most)


class Replay:
    """Keeps what it yields, so that another attempt sends the same bytes.

    What the first attempt did not come to is taken from where it stopped: iterators and
    files are read once.
    """

    def __init__(self, stream: Any, most: int) -> None:
        self._stream = stream
        self._most = most
        self._kept: Any = tempfile.SpooledTemporaryFile(IN_MEMORY)  # noqa: SIM115
        weakref.finalize(self, self._kept.close)  # a redirect may need it after the call
        self._size = 0
        self._source: Any = None
        self.is_whole = True

    def __iter__(self) -> Iterator[bytes]:
        yield from self._again()
        if self._source is None:
            self._source = iter(self._stream)
        for chunk in self._source:
            self._keep(chunk)
            yield chunk

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for chunk in self._again():
            yield chunk
        if self._source is None:
            self._source = aiter(self._stream)
        async for chunk in self._source:
            self._keep(chunk)
            yield chunk

    def _again(self) -> Iterator[bytes]:
        if not self.is_whole:  # a redirect of a body that was too long
            raise like(self._stream, "StreamConsumed")()
        at = 0
        while at < self._size:
            self._kept.seek(at)
            chunk = self._kept.read(CHUNK)
            at += len(chunk)
            yield chunk

    def _keep(self, chunk: bytes) -> None:
        self._size += len(chunk)
        if not self.is_whole:
            return
        if self._size > self._most:
            self.is_whole = False
            self._kept.close()
            return
        self._kept.seek(0, 2)
        self._kept.write(chunk)

    def close(self) -> None:
        """Let go of what was kept."""
        self._kept.close()
        close = getattr(self._stream, "close", None)
        if close is not None:
            close()

    async def aclose(self) -> None:
        """Let go of what was kept."""
        self._kept.close()
        close = getattr(self._stream, "aclose", None)
        if close is not None:
            await close()


# -- In --------------------------------------------------------------------------------


class Peeked:
    """An answer's stream of which the beginning was read already.

    Args:
        stream: the one that is closed at the end.
        start: the beginning.
        rest: what follows; ``()`` if the beginning was all.
        lost: what to raise after it, if the rest was given up.
    """

    def __init__(self, stream: Any, start: bytes, rest: Any, lost: Exception | None) -> None:
        self._stream = stream
        self._start = start
        self._rest = rest
        self._lost = lost

    @property
    def is_here(self) -> bool:
        """Whether there is no rest that would have to be waited for."""
        return bool(self._rest == ())

    def __iter__(self) -> Iterator[bytes]:
        yield self._start
        if self._lost is not None:
            raise self._lost
        yield from self._rest

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield self._start
        if self._lost is not None:
            raise self._lost
        if not self.is_here:
            async for chunk in self._rest:
                yield chunk

    def close(self) -> None:
        """Close the stream."""
        self._stream.close()

    async def aclose(self) -> None:
        """Close the stream."""
        await self._stream.aclose()


async def _left(chunks: Any) -> None:
    """Close an asynchronous iterator that is not read to its end; trio insists on it."""
    aclose = getattr(chunks, "aclose", None)
    if aclose is not None:
        await aclose()


def _put_back(response: Any, start: bytes, rest: Any, lost: Exception | None) -> bytes:
    stream = response.stream
    response.stream = _made(Peeked, stream.__class__)(stream, start, rest, lost)
    return start


def peeked(response: Any, clock: Callable[[], float], ends: float, most: int = CHUNK) -> bytes:
    """Return the first ``most`` bytes of an answer as they came, and leave it unread.

    Args:
        response: of a transport.
        clock, ends: when to be content with what has come.
        most: bytes.
    """
    start, rest = b"", iter(response.stream)
    for chunk in rest:
        start += chunk
        if len(start) >= most or clock() > ends:
            break
    return _decoded(response, _put_back(response, start, rest, None)[:most])


async def apeeked(
    response: Any, clock: Callable[[], float], ends: float, most: int = CHUNK
) -> bytes:
    """Return the first ``most`` bytes of an answer, and leave it unread; see :func:`peeked`."""
    start, rest = b"", aiter(response.stream)
    async for chunk in rest:
        start += chunk
        if len(start) >= most or clock() > ends:
            break
    return _decoded(response, _put_back(response, start, rest, None)[:most])


def _decoded(response: Any, start: bytes) -> bytes:
    """Return the beginning of a body without its encoding, as far as that can be told."""
    if response.headers.get("content-encoding", "").strip().lower() in ("gzip", "x-gzip"):
        try:
            return zlib.decompressobj(47).decompress(start, CHUNK)
        except zlib.error:
            return start
    return start


def drained(response: Any, clock: Callable[[], float], most: int = CHUNK) -> None:
    """Read an answer that is not wanted, so that its connection can be used again.

    One that is over ``most`` bytes, or takes over a second, is closed, which costs the
    connection. What was read can still be read.
    """
    start, ends, lost = b"", clock() + 1.0, None
    try:
        for chunk in response.stream:
            start += chunk
            if len(start) > most or clock() > ends:
                lost = like(response, "ReadError")("the rest of the answer was given up")
                break
    except Exception as error:
        lost = error
    finally:
        response.stream.close()
    _put_back(response, start, (), lost)


async def adrained(response: Any, clock: Callable[[], float], most: int = CHUNK) -> None:
    """Read an answer that is not wanted; see :func:`drained`."""
    start, ends, lost = b"", clock() + 1.0, None
    chunks = aiter(response.stream)
    try:
        async for chunk in chunks:
            start += chunk
            if len(start) > most or clock() > ends:
                lost = like(response, "ReadError")("the rest of the answer was given up")
                break
    except Exception as error:
        lost = error
    finally:
        await response.stream.aclose()
        await _left(chunks)
    _put_back(response, start, (), lost)


class Watched:
    """An answer's stream that may not last too long, nor be too large when it is decoded.

    gzip and deflate are decoded here, piece by piece: what a client decodes at once may be
    a thousand times as large as what came.
    """

    _decoders: Sequence[_Decoder] = ()

    def __init__(
        self,
        stream: Any,
        response: Any,
        clock: Callable[[], float],
        ends: float,
        most: float,
        encodings: tuple[str, ...],
    ) -> None:
        self._stream = stream
        self._response = response
        self._clock = clock
        self._ends = ends
        self._left = most
        if encodings:
            self._decoders = [_Decoder(each) for each in reversed(encodings)]

    def __iter__(self) -> Iterator[bytes]:
        for chunk in self._stream:
            yield from self._passed(chunk)
        self._ended()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        chunks = aiter(self._stream)
        try:
            async for chunk in chunks:
                for piece in self._passed(chunk):
                    yield piece
        except BaseException:
            await self._stream.aclose()  # at once; what is left to generators comes later
            raise
        finally:
            await _left(chunks)
        self._ended()

    def _passed(self, chunk: bytes) -> Iterable[bytes]:
        if self._clock() > self._ends:
            raise like(self._response, "ReadTimeout")("the answer was not whole at the deadline")
        if self._decoders:
            return map(self._counted, self._through(chunk, 0))
        return (self._counted(chunk),)

    def _counted(self, piece: bytes) -> bytes:
        self._left -= len(piece)
        if self._left < 0:
            raise like(self._response, "DecodingError")(
                "the answer is larger than the client allows (max_body)"
            )
        return piece

    def _through(self, chunk: bytes, at: int) -> Iterator[bytes]:
        if at == len(self._decoders):
            yield chunk
            return
        try:
            for piece in self._decoders[at].pieces(chunk):
                yield from self._through(piece, at + 1)
        except zlib.error as error:
            raise like(self._response, "DecodingError")(
                "the answer is not encoded as it says"
            ) from error

    def _ended(self) -> None:
        if self._decoders and not all(each.is_whole for each in self._decoders):
            raise like(self._response, "RemoteProtocolError")("the encoded answer ends too early")

    def close(self) -> None:
        """Close the stream."""
        self._stream.close()

    async def aclose(self) -> None:
        """Close the stream."""
        await self._stream.aclose()


class _Decoder:
    """gzip or deflate, a bounded piece at a time."""

    def __init__(self, encoding: str) -> None:
        # 47 takes gzip and zlib. Some send deflate without the header of zlib (RFC 9110 §8.4.1.2).
        self._inflate = zlib.decompressobj(47)
        self._is_raw = encoding != "deflate"
        self._begun = False

    def pieces(self, chunk: bytes) -> Iterator[bytes]:
        while chunk:
            try:
                piece = self._inflate.decompress(chunk, CHUNK)
            except zlib.error:
                if self._is_raw or self._begun:
                    raise
                self._inflate, self._is_raw = zlib.decompressobj(-zlib.MAX_WBITS), True
                continue
            self._begun = True
            chunk = self._inflate.unconsumed_tail
            if self._inflate.eof and self._inflate.unused_data:  # one gzip member after another
                chunk, self._inflate = self._inflate.unused_data, zlib.decompressobj(47)
            if piece:
                yield piece

    @property
    def is_whole(self) -> bool:
        return self._inflate.eof or not self._begun


def watched(
    response: Any, clock: Callable[[], float], ends: float, most: float | None, encoding: str | None
) -> None:
    """Let an answer's stream be watched; see :class:`Watched`.

    Args:
        response: its ``content-encoding`` is taken away where it is decoded here.
        clock, ends: when it has to be whole.
        most: bytes, decoded; None for any number.
        encoding: what ``content-encoding`` says.
    """
    stream = response.stream
    encodings: tuple[str, ...] = ()
    if encoding and most is not None:
        told = (each.strip().lower() for each in encoding.split(","))
        encodings = tuple(each for each in told if each not in ("", "identity"))
        if len(encodings) > _DEEP:
            raise like(response, "DecodingError")(f"the answer is encoded over {_DEEP} times")
        if set(encodings) <= _KNOWN:
            del response.headers["content-encoding"]
            response.headers.pop("content-length", None)
        else:
            encodings = ()
    if isinstance(stream, Peeked) and stream.is_here:
        ends = _ANY
    response.stream = _made(Watched, stream.__class__)(
        stream, response, clock, ends, _ANY if most is None else most, encodings
    )


_ANY: Final = float("inf")
_DEEP: Final = 5
_KNOWN: Final = {"gzip", "x-gzip", "deflate"}
