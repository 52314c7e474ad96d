"""C4.18: the zoo of bodies: sent again byte for byte, with the same length, or not at all."""

from __future__ import annotations

import io
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from syncsdk.http import Guard, Retry, UnsafeToRetry
from syncsdk.http.bodies import IN_MEMORY

from .harness import Caller, answer, failing, report

TROUBLE = [
    pytest.param([answer(503)], id="503"),
    pytest.param([answer(429), answer(429)], id="429 twice"),
    pytest.param([answer(fault="reset")], id="reset"),
    pytest.param([answer(503, fault="unread")], id="503 before the body is read"),
]
LARGE = bytes(each % 253 for each in range(70_001)) * 20
"""1.4 MB: more than is kept in memory."""

Body = Callable[[Caller, Path], dict[str, Any]]


def of_bytes(call: Caller, folder: Path) -> dict[str, Any]:
    return {"content": b"bytes"}


def of_json(call: Caller, folder: Path) -> dict[str, Any]:
    return {"json": {"name": "Zoë"}}


def of_form(call: Caller, folder: Path) -> dict[str, Any]:
    return {"data": {"name": "Zoë", "age": "7"}}


def of_nothing(call: Caller, folder: Path) -> dict[str, Any]:
    return {}


def of_multipart(call: Caller, folder: Path) -> dict[str, Any]:
    return {"files": {"file": ("a.txt", b"content", "text/plain")}, "data": {"x": "1"}}


def of_multipart_and_file(call: Caller, folder: Path) -> dict[str, Any]:
    return {"files": {"file": _file(folder, b"content" * 1_000)}}


def of_multipart_and_large_file(call: Caller, folder: Path) -> dict[str, Any]:
    return {"files": {"file": io.BytesIO(LARGE)}}


def of_multipart_and_file_at_offset(call: Caller, folder: Path) -> dict[str, Any]:
    opened = _file(folder, b"skipped content")
    opened.seek(8)
    return {"files": {"file": opened}}


def of_iterator(call: Caller, folder: Path) -> dict[str, Any]:
    return {"content": call.body([b"chunk1", b"chunk2"])}


def of_empty_iterator(call: Caller, folder: Path) -> dict[str, Any]:
    return {"content": call.body([])}


def of_large_iterator(call: Caller, folder: Path) -> dict[str, Any]:
    return {"content": call.body(LARGE[at : at + 50_000] for at in range(0, len(LARGE), 50_000))}


def of_iterator_and_length(call: Caller, folder: Path) -> dict[str, Any]:
    return {"content": call.body([b"chunk1", b"chunk2"]), "headers": {"Content-Length": "12"}}


def of_file(call: Caller, folder: Path) -> dict[str, Any]:
    return _readable(call, _file(folder, b"content" * 20_000))


def of_file_at_offset(call: Caller, folder: Path) -> dict[str, Any]:
    opened = _file(folder, b"skipped content")
    opened.seek(8)
    return _readable(call, opened) | {"headers": {"Content-Length": "7"}}


def _file(folder: Path, content: bytes) -> Any:
    path = folder / "upload"
    path.write_bytes(content)
    return io.BytesIO(content) if not folder.name else path.open("rb")


def _readable(call: Caller, opened: Any) -> dict[str, Any]:
    """An ``AsyncClient`` takes no file: it has to be read in chunks there."""
    if not call.flavour.is_async:
        return {"content": opened}
    return {"content": call.body(iter(lambda: opened.read(4_096), b""))}


BODIES = [
    of_bytes, of_json, of_form, of_nothing, of_multipart, of_multipart_and_file,
    of_multipart_and_large_file, of_multipart_and_file_at_offset, of_iterator,
    of_empty_iterator, of_large_iterator, of_iterator_and_length, of_file, of_file_at_offset,
]  # fmt: skip


def name_of(body: Body) -> str:
    return body.__name__.removeprefix("of_").replace("_", " ")


def expected(call: Caller, body: Body, folder: Path, server: Any) -> Any:
    """Return what the same request looks like when it is sent once."""
    server.answers(answer())
    options = body(call, folder)
    call("PUT", **options)
    _close(options)
    return server.seen.pop()


def _close(options: dict[str, Any]) -> None:
    for each in (options.get("content"), *options.get("files", {}).values()):
        if isinstance(each, io.IOBase):
            each.close()


@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")
@pytest.mark.parametrize("body", BODIES, ids=name_of)
@pytest.mark.parametrize("trouble", TROUBLE)
def test_it_is_sent_again_byte_for_byte(
    trouble: list[Any], body: Body, server: Any, caller: Any, tmp_path: Path
) -> None:
    call = caller()
    once = expected(call, body, tmp_path, server)
    server.answers(*trouble, answer(201))

    options = body(call, tmp_path)
    response = call("PUT", **options)
    _close(options)

    assert response.status_code == 201
    assert len(server.seen) == len(trouble) + 1
    last = server.seen[-1]
    assert last.is_whole
    assert _without_boundary(last) == _without_boundary(once)
    for seen in server.seen:
        assert seen.header("content-length") == last.header("content-length")
        assert seen.header("content-type") == last.header("content-type")


def _without_boundary(seen: Any) -> bytes:
    boundary = (seen.header("content-type") or "").rpartition("boundary=")[2].encode()
    return seen.body.replace(boundary, b"") if boundary else seen.body  # type: ignore[no-any-return]


def test_it_is_sent_whole_when_the_first_attempt_never_left(
    server: Any, caller: Any, flavour: Any
) -> None:
    call = caller(inner=failing(flavour, "ConnectError"))

    call("POST", content=call.body([b"chunk1", b"chunk2"]))

    assert [seen.body for seen in server.seen] == [b"chunk1chunk2"]


def test_what_lies_in_a_file_is_sent_again_in_parts_that_were_never_read_twice(
    server: Any, caller: Any
) -> None:
    read: list[int] = []

    def chunks() -> Any:
        for number in range(40):
            read.append(number)
            yield b"%d" % (number % 10) * 65_536

    server.answers(answer(503, fault="unread"), answer())
    call = caller()

    call("PUT", content=call.body(chunks()))

    assert read == list(range(40))
    assert len(server.seen[-1].body) == 40 * 65_536 > IN_MEMORY
    assert server.seen[-1].body == b"".join(b"%d" % (each % 10) * 65_536 for each in range(40))


SMALL = Guard(max_request=10)


@pytest.mark.parametrize("status", [429, 503])
def test_a_body_over_the_cap_is_not_sent_again(status: int, server: Any, caller: Any) -> None:
    server.answers(answer(status, body=b"no"), answer())
    call = caller(guard=SMALL)

    response = call("PUT", content=call.body([b"chunk1", b"chunk2"]))

    assert (response.status_code, response.content) == (status, b"no")
    assert [seen.body for seen in server.seen] == [b"chunk1chunk2"]
    assert call.waits == []


def test_a_body_over_the_cap_that_is_lost_is_raised(server: Any, caller: Any) -> None:
    server.answers(answer(fault="reset"), answer())
    call = caller(guard=SMALL)

    with pytest.raises((call.lib.ReadError, call.lib.RemoteProtocolError)):
        call("PUT", content=call.body([b"chunk1", b"chunk2"]))

    assert len(server.seen) == 1


def test_a_body_of_the_caps_size_is_sent_again(server: Any, caller: Any) -> None:
    server.answers(answer(503), answer())
    call = caller(guard=SMALL)

    call("PUT", content=call.body([b"12345", b"67890"]))

    assert [seen.body for seen in server.seen] == [b"1234567890"] * 2


def test_bytes_know_no_cap(server: Any, caller: Any) -> None:
    server.answers(answer(503), answer())

    caller(guard=SMALL)("PUT", content=b"longer than ten")

    assert [seen.body for seen in server.seen] == [b"longer than ten"] * 2


def test_with_one_attempt_nothing_is_kept(server: Any, caller: Any) -> None:
    call = caller(retry=Retry(attempts=1))

    response = call("PUT", content=call.body([b"chunk1"]))

    assert type(response.request.stream).__name__ != "Replay"
    assert server.seen[0].body == b"chunk1"


def test_a_closed_file_is_an_error_and_no_empty_body(
    server: Any, caller: Any, tmp_path: Path
) -> None:
    opened = io.BytesIO(b"content")
    call = caller()
    options = _readable(call, opened)
    if call.flavour.is_async:

        async def chunks() -> Any:
            yield opened.read()

        options = {"content": chunks()}
    request = call.opened.build_request("PUT", "/", **options)
    opened.close()

    with pytest.raises(ValueError, match="closed file"):
        call.run(call.opened.send, request)

    assert not any(seen.is_whole for seen in server.seen)
    assert call.waits == []


@pytest.mark.parametrize("chunks", [[b"chunk1", b"chunk2"], []], ids=["two chunks", "no chunk"])
def test_a_307_takes_the_body_along(chunks: list[bytes], server: Any, caller: Any) -> None:
    server.answers(answer(503), answer(307, "Location: /there"), answer(503), answer())
    call = caller(client={"follow_redirects": True})

    response = call("PUT", content=call.body(chunks))

    assert response.status_code == 200
    assert [seen.path for seen in server.seen] == ["/", "/", "/there", "/there"]
    assert {seen.body for seen in server.seen} == {b"".join(chunks)}


def test_a_307_of_a_body_over_the_cap_is_an_error_of_the_client(server: Any, caller: Any) -> None:
    server.answers(answer(307, "Location: /there"), answer())
    call = caller(guard=SMALL, client={"follow_redirects": True})

    with pytest.raises(call.lib.StreamConsumed):
        call("PUT", content=call.body([b"chunk1", b"chunk2"]))

    assert not any(seen.is_whole and seen.path == "/there" for seen in server.seen)


def test_an_auth_flow_takes_the_body_along(server: Any, caller: Any) -> None:
    call = caller()

    class Refreshing(call.lib.Auth):  # type: ignore[misc, name-defined]
        def auth_flow(self, request: Any) -> Any:
            response = yield request
            if response.status_code == 401:
                request.headers["Authorization"] = "Bearer fresh"
                yield request

    server.answers(answer(429), answer(401), answer(503), answer(201))

    response = call("PUT", content=call.body([b"chunk1", b"chunk2"]), auth=Refreshing())

    assert response.status_code == 201
    assert [seen.body for seen in server.seen] == [b"chunk1chunk2"] * 4
    assert [seen.header("authorization") for seen in server.seen[1:]] == [
        None, "Bearer fresh", "Bearer fresh",
    ]  # fmt: skip


def test_a_post_that_was_sent_in_part_is_not_sent_again(server: Any, caller: Any) -> None:
    server.answers(answer(503, fault="unread"), answer())
    call = caller()

    with suppress(UnsafeToRetry):  # if the reset comes before the answer is read
        assert call("POST", content=call.body([b"x" * 65_536] * 40)).status_code == 503

    assert len(server.seen) == 1


def test_a_report_tells_of_the_attempts(server: Any, caller: Any) -> None:
    server.answers(answer(503), answer())
    call = caller()

    assert report(call("PUT", content=call.body([b"chunk"]))).attempts == 2
