"""REST connectors, through the engine, against a small interface with all its moods."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import httpx
import pytest

from syncsdk import INSTANT, Keyset, Listing, MemoryStore, Pipeline, Result, Token, Watermark
from syncsdk.connectors.rest import RestSink, RestSource, Route
from syncsdk.errors import ConfigurationError, ContractError, SyncError
from syncsdk.http import AsyncClient, Client, ReliableTransport, Retry
from syncsdk.http.pages import (
    ByHeader,
    ByKeyset,
    ByLink,
    ByNumber,
    ByOffset,
    ByToken,
    ByUrl,
    OnePage,
)

START = datetime(2026, 3, 1, tzinfo=UTC)


def at(minute: int) -> str:
    return (START + timedelta(minutes=minute)).isoformat().replace("+00:00", "Z")


class Api:
    """Contacts to read in every way of paging, and customers to write."""

    def __init__(self) -> None:
        self.contacts: list[dict[str, Any]] = []
        self.customers: dict[str, dict[str, Any]] = {}
        self.keys: dict[str, str] = {}
        self.seen: list[tuple[str, str, dict[str, str], bytes]] = []
        self.moods: list[Callable[[str, str], Any]] = []
        self.now: datetime | None = START + timedelta(days=1)
        api = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                api.seen.append((self.command, self.path, dict(self.headers), body))
                mood = api.moods.pop(0) if api.moods else None
                status, headers, answer = (mood and mood(self.command, self.path)) or api.answer(
                    self.command, self.path, dict(self.headers), body
                )
                sent = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
                self.send_response_only(status)
                if api.now is not None:
                    self.send_header("Date", format_datetime(api.now, usegmt=True))
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(sent)))
                self.end_headers()
                self.wfile.write(sent)

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do

            def log_message(self, *_: object) -> None: ...

        class Server(ThreadingHTTPServer):
            def handle_error(self, *_: object) -> None: ...  # a client that left

        self.server = Server(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def close(self) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()

    def answer(self, method: str, path: str, headers: dict[str, str], body: bytes) -> Any:
        parts = urlsplit(path)
        asked = {name: values[0] for name, values in parse_qs(parts.query).items()}
        if parts.path == "/contacts":
            return self.page(asked)
        name = unquote(parts.path.removeprefix("/customers").strip("/"))
        if method == "POST":
            key = headers.get("Idempotency-Key")
            if key is not None and key in self.keys:
                return 201, {}, {"data": {"id": self.keys[key]}}
            name = f"c{len(self.customers) + 1}"
            self.customers[name] = json.loads(body)
            if key is not None:
                self.keys[key] = name
            return 201, {}, {"data": {"id": name}}
        if method == "PUT":
            self.customers[name] = json.loads(body)
            return 200, {}, {"data": {"id": name}}
        if name not in self.customers:
            return 404, {}, {"error": {"code": "resource_missing"}}
        if method == "DELETE":
            del self.customers[name]
            return 204, {}, b""
        self.customers[name].update(json.loads(body))
        return 200, {}, {"data": {"id": name}}

    def page(self, asked: dict[str, str], size: int = 2) -> Any:
        rows = sorted(self.contacts, key=lambda row: (row.get("updated", ""), str(row["id"])))
        if "since" in asked:
            rows = [row for row in rows if row["updated"] >= asked["since"]]
        start = int(asked.get("cursor", asked.get("offset", 0)))
        if "number" in asked:
            start = (int(asked["number"]) - 1) * size
        if "after_id" in asked:
            start = [str(row["id"]) for row in rows].index(asked["after_id"]) + 1
        page, more = rows[start : start + size], start + size < len(rows)
        query = "&".join(f"{name}={value}" for name, value in asked.items() if name != "cursor")
        link = f"/contacts?{query}&cursor={start + size}"
        headers = (
            {"Link": f'<{link}>; rel="next last"', "X-Next": str(start + size)} if more else {}
        )
        return 200, headers, {
            "items": page,
            "paging": {"next": str(start + size) if more else None},
            "next_url": link if more else None,
        }  # fmt: skip


@pytest.fixture
def api() -> Iterator[Api]:
    api = Api()
    yield api
    api.close()


@pytest.fixture(params=["sync", "asyncio"])
def face(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def contact(number: int, minute: int = 0, **more: Any) -> dict[str, Any]:
    return {"id": number, "updated": at(minute or number), "name": f"N{number}", **more}


FAST = Retry(base=0.0)


def run(face: str, api: Api, source: Any, sink: Any, store: Any, **options: Any) -> Any:
    """Run a pipeline from ``source(client)`` to ``sink(client)``."""
    options.setdefault("mapping_version", "1")

    def flow(client: Any) -> Pipeline:
        return Pipeline(
            "contacts",
            source=source(client),
            mapping=options.get(
                "mapping", lambda row: {"name": row["name"], "key": str(row["id"])}
            ),
            mapping_version="1",
            sink=sink(client),
            owner="tests",
        )

    if face == "sync":
        with Client(api.url, retry=FAST) as client:
            return flow(client).run(store)

    async def go() -> Any:
        async with AsyncClient(api.url, retry=FAST) as client:
            return await flow(client).run_async(store)

    return asyncio.run(go())


def puts(client: Any) -> RestSink:
    return RestSink(
        client,
        upsert=Route("PUT", "/customers/{key}", id="data.id"),
        delete=Route("DELETE", "/customers/{key}"),
    )


PAGES = {
    "token": ByToken("paging.next", "cursor"),
    "header": ByHeader("x-next", "cursor"),
    "link": ByLink(),
    "url": ByUrl("next_url"),
    "number": ByNumber("number"),
    "offset": ByOffset("offset"),
    "keyset": ByKeyset("id", "after_id"),
}


@pytest.mark.parametrize("number", [0, 1, 2, 3, 7])
@pytest.mark.parametrize("way", PAGES)
def test_every_way_of_paging_reads_every_record_once(
    way: str, number: int, api: Api, face: str
) -> None:
    api.contacts = [contact(each) for each in range(1, number + 1)]

    def source(client: Any) -> RestSource:
        return RestSource(client, "/contacts", key="id", records="items", page=PAGES[way])

    store = MemoryStore()
    report = run(face, api, source, puts, store)

    assert (report.result, report.counts.read) == (Result.SUCCESS, number)
    assert set(api.customers) == {str(each) for each in range(1, number + 1)}
    again = run(face, api, source, puts, store)
    assert (again.counts.read, again.counts.unchanged) == (number, number)


def since(client: Any, **more: Any) -> RestSource:
    options: dict[str, Any] = {
        "cursor": Watermark("updated", lateness=timedelta(0)),
        "since": "since",
        "page": ByToken("paging.next", "cursor"),
        "version": INSTANT("updated"),
    }
    return RestSource(client, "/contacts", key="id", records="items", **{**options, **more})


def test_the_next_run_reads_what_changed_since(api: Api, face: str) -> None:
    api.contacts = [contact(each) for each in range(1, 6)]
    store = MemoryStore()
    run(face, api, since, puts, store)
    api.contacts[1].update(name="changed", updated=at(60))
    api.contacts.append(contact(6, 61))
    api.seen.clear()

    report = run(face, api, since, puts, store)

    counts = report.counts
    assert (counts.read, counts.unchanged, counts.updated, counts.created) == (3, 1, 1, 1)
    assert api.customers["2"]["name"] == "changed"
    assert f"since={at(5)}".replace(":", "%3A") in api.seen[0][1]


def test_equal_timestamps_at_the_edge_of_a_run_are_read(api: Api, face: str) -> None:
    api.contacts = [contact(each, 7) for each in range(1, 4)]
    store = MemoryStore()
    run(face, api, since, puts, store)
    api.contacts.append(contact(9, 7))

    run(face, api, since, puts, store)

    assert set(api.customers) == {"1", "2", "3", "9"}


def test_a_keyset_begins_at_the_value_and_knows_the_id(api: Api, face: str) -> None:
    def source(client: Any) -> RestSource:
        return since(client, cursor=Keyset("updated", "id", lateness=timedelta(0)))

    api.contacts = [contact(each, 7) for each in range(1, 4)]
    store = MemoryStore()
    report = run(face, api, source, puts, store)

    assert report.counts.created == 3
    assert store.load("contacts").cursor == f'["{at(7)}","3"]'
    assert run(face, api, source, puts, store).counts.unchanged == 3


def test_the_clock_is_the_other_sides_and_earlier_than_the_request(api: Api) -> None:
    api.contacts = [contact(1)]
    with Client(api.url) as client:
        source = since(client)
        with pytest.raises(ContractError, match="have no Date of their own"):
            source.clock()
        list(source.read())  # type: ignore[arg-type]
        assert api.now is not None
        assert api.now - timedelta(seconds=3) < source.clock() <= api.now - timedelta(seconds=1)


@pytest.mark.parametrize("how", ["no date", "from a cache"])
def test_a_clock_that_cannot_be_trusted_is_refused(how: str, api: Api, face: str) -> None:
    api.contacts = [contact(1)]
    if how == "no date":
        api.now = None
    else:
        api.moods = [lambda *_: (200, {"Age": "3600"}, {"items": api.contacts, "paging": {}})]

    def source(client: Any) -> RestSource:
        return since(client, cursor=Watermark("updated", lateness=timedelta(minutes=5)))

    report = run(face, api, source, puts, MemoryStore())

    assert report.result is Result.FAILED
    assert "have no Date of their own" in report.reason


# -- Answers that are none -------------------------------------------------------------


@pytest.mark.parametrize("page", [0, 1])
@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 409, 410, 422, 429, 500, 503])
def test_a_failure_is_never_the_end(status: int, page: int, api: Api, face: str) -> None:
    api.contacts = [contact(each) for each in range(1, 6)]
    store = MemoryStore()

    def pages(client: Any) -> RestSource:
        return since(client)

    # A page in, as many failures as there are attempts; writes of the first page lie between.
    original = api.answer

    def moody(method: str, path: str, headers: Any, body: bytes) -> Any:
        if method == "GET" and (page == 0) == ("cursor=" not in path):
            return status, {}, {"error": "x"}
        return original(method, path, headers, body)

    api.answer = moody  # type: ignore[method-assign]
    report = run(face, api, pages, puts, store)

    assert report.result is Result.FAILED
    assert len(api.customers) == 2 * page
    api.answer = original  # type: ignore[method-assign]
    assert run(face, api, pages, puts, store).result is Result.SUCCESS
    assert len(api.customers) == 5


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"<html>gateway</html>", "something that is not JSON"),
        ({"items": {"a": 1}}, "no list at items"),
        ({}, "no list at items"),
        ([], "no list at items"),
        ({"items": [{"id": 1}]}, "a record has no updated"),
        ({"items": [], "paging": {"next": {"a": 1}}}, "paging.next is a value of type dict"),
    ],
)
def test_an_answer_of_another_shape_is_an_error(
    answer: Any, words: str, api: Api, face: str
) -> None:
    api.moods = [lambda *_: (200, {}, answer)] * 4

    report = run(face, api, since, puts, MemoryStore())

    assert report.result is Result.FAILED
    assert words in report.reason
    assert api.customers == {}


def test_a_token_that_leads_in_a_circle_is_an_error(api: Api, face: str) -> None:
    def source(client: Any) -> RestSource:
        return RestSource(
            client, "/contacts", key="id", page=ByToken("next", "cursor"), records="items"
        )

    def circle(*_: Any) -> Any:
        return 200, {}, {"items": [{"id": len(api.seen), "name": "x"}], "next": "same"}

    api.answer = circle  # type: ignore[method-assign]

    report = run(face, api, source, puts, MemoryStore())

    assert report.result is Result.FAILED
    assert "leads to its own page" in report.reason


@pytest.mark.parametrize(
    "link",
    ["http://evil.test/contacts", "//evil.test/x", "https://127.0.0.1/x", "http://127.0.0.1:1/"],
)
@pytest.mark.parametrize("way", ["url", "link"])
def test_a_link_to_another_origin_is_not_followed(way: str, link: str, api: Api, face: str) -> None:
    def source(client: Any) -> RestSource:
        return RestSource(client, "/contacts", key="id", records="items", page=PAGES[way])

    headers = {"Link": f'<{link}>; rel="next"'}
    api.moods = [lambda *_: (200, headers, {"items": [], "next_url": link})]

    report = run(face, api, source, puts, MemoryStore())

    assert report.result is Result.FAILED
    assert "leads to another origin" in report.reason
    assert len(api.seen) == 1


def test_records_that_are_no_objects_become_dead_letters(api: Api, face: str) -> None:
    def source(client: Any) -> RestSource:
        return RestSource(client, "/contacts", key="id", records="items", page=OnePage())

    api.moods = [lambda *_: (200, {}, {"items": [{"id": 1, "name": "x"}, 5, None, {"name": "y"}]})]

    report = run(face, api, source, puts, MemoryStore())

    assert (report.counts.created, report.counts.dead) == (1, 3)


def test_deleted_records_are_deleted(api: Api, face: str) -> None:
    api.contacts = [contact(1), contact(2)]

    def source(client: Any) -> RestSource:
        return since(client, deleted="gone")

    store = MemoryStore()
    for each in api.contacts:
        each["gone"] = False
    run(face, api, source, puts, store)
    api.contacts[0].update(gone=True, updated=at(50))

    report = run(face, api, source, puts, store)

    assert report.counts.deleted == 1
    assert set(api.customers) == {"2"}


def test_a_cursor_and_its_parameter_belong_together() -> None:
    with httpx.Client() as client:
        for options in ({"since": "s"}, {"cursor": Token(), "since": "s"}):
            with pytest.raises(ConfigurationError, match="a cursor by a field needs the parameter"):
                RestSource(client, "/x", key="id", **options)  # type: ignore[arg-type]
        RestSource(client, "/x", key="id", cursor=Listing())


# -- Writing ---------------------------------------------------------------------------


def listing(client: Any) -> RestSource:
    return RestSource(client, "/contacts", key="id", records="items", page=PAGES["token"])


def creates(client: Any, **more: Any) -> RestSink:
    return RestSink(
        client,
        create=Route("POST", "/customers", id="data.id"),
        update=Route("PATCH", "/customers/{id}"),
        delete=Route("DELETE", "/customers/{id}"),
        **{"key_header": "Idempotency-Key", **more},
    )


def test_creates_and_updates_by_the_id_that_the_other_side_gave(api: Api, face: str) -> None:
    api.contacts = [contact(each) for each in range(1, 4)]
    store = MemoryStore()
    run(face, api, listing, creates, store)
    api.contacts[1]["name"] = "changed"

    report = run(face, api, listing, creates, store)

    assert (report.counts.updated, report.counts.unchanged) == (1, 2)
    assert len(api.customers) == 3
    assert [each["name"] for each in api.customers.values() if each["key"] == "2"] == ["changed"]


@pytest.mark.parametrize("status", [500, 503])
def test_a_create_that_fails_after_the_commit_happens_once(
    status: int, api: Api, face: str
) -> None:
    api.contacts = [contact(each) for each in range(1, 4)]
    store, original, failed = MemoryStore(), api.answer, set[str]()

    def moody(method: str, path: str, headers: Any, body: bytes) -> Any:
        made = original(method, path, headers, body)
        if method == "POST" and headers["Idempotency-Key"] not in failed:
            failed.add(headers["Idempotency-Key"])
            return status, {}, {"error": "x"}
        return made

    api.answer = moody  # type: ignore[method-assign]
    report = run(face, api, listing, creates, store)

    assert report.result is Result.SUCCESS
    assert len(api.customers) == 3
    bodies = [body for method, _, _, body in api.seen if method == "POST"]
    assert sorted(bodies) == sorted([*set(bodies)] * 2), "byte for byte the same again"


@pytest.mark.parametrize("status", [400, 409, 413, 422])
def test_a_refused_change_is_a_dead_letter_and_the_others_go_on(
    status: int, api: Api, face: str
) -> None:
    api.contacts = [contact(each) for each in range(1, 6)]
    original = api.answer

    def moody(method: str, path: str, headers: Any, body: bytes) -> Any:
        if path == "/customers/3":
            return status, {}, {"error": {"code": "too_odd", "message": "N3 is odd"}}
        return original(method, path, headers, body)

    api.answer = moody  # type: ignore[method-assign]
    store = MemoryStore()
    report = run(face, api, listing, puts, store)

    (letter,) = store.letters("contacts")
    assert (report.counts.created, report.counts.dead) == (4, 1)
    assert (letter.key, letter.code) == (("3",), "too_odd")
    assert "N3 is odd" in (letter.detail or "")
    assert "N3" not in letter.reason


@pytest.mark.parametrize("status", [401, 403, 405, 500, 503])
def test_a_system_that_is_down_or_refuses_us_makes_no_dead_letters(
    status: int, api: Api, face: str
) -> None:
    api.contacts = [contact(1)]
    original = api.answer

    def moody(method: str, path: str, headers: Any, body: bytes) -> Any:
        return (status, {}, {}) if method == "PUT" else original(method, path, headers, body)

    api.answer = moody  # type: ignore[method-assign]
    store = MemoryStore()
    report = run(face, api, listing, puts, store)

    assert report.result is Result.FAILED
    assert store.letters("contacts") == []
    api.answer = original  # type: ignore[method-assign]
    assert run(face, api, listing, puts, store).counts.created == 1


def test_a_limit_that_names_its_end_pauses_the_run(api: Api, face: str) -> None:
    api.contacts = [contact(1)]
    original = api.answer

    def moody(method: str, path: str, headers: Any, body: bytes) -> Any:
        if method == "POST":
            return 429, {"Retry-After": "3600"}, {}
        return original(method, path, headers, body)

    api.answer = moody  # type: ignore[method-assign]
    store = MemoryStore()
    report = run(face, api, listing, creates, store)

    assert report.result is Result.PAUSED
    api.answer = original  # type: ignore[method-assign]
    assert run(face, api, listing, creates, store).counts.created == 1
    assert len(api.customers) == 1


def test_deleting_what_is_not_there_is_done(api: Api, face: str) -> None:
    api.contacts = [contact(1, gone=False)]

    def source(client: Any) -> RestSource:
        return since(client, deleted="gone")

    store = MemoryStore()
    run(face, api, source, puts, store)
    api.customers.clear()
    api.contacts[0].update(gone=True, updated=at(99))

    assert run(face, api, source, puts, store).counts.deleted == 1


ODD_KEYS = ["a/b", "../admin", "ü&?#", "a b", "%2e%2e", ".."]


@pytest.mark.parametrize("key", ODD_KEYS)
def test_a_key_stays_one_segment_of_the_path(key: str, api: Api, face: str) -> None:
    api.contacts = [{"id": key, "name": "x"}]
    store = MemoryStore()

    report = run(face, api, listing, puts, store)

    if key == "..":
        assert report.counts.dead == 1
        assert api.customers == {}
    else:
        assert set(api.customers) == {key}


def test_numbers_and_missing_values_are_sent_as_they_are(api: Api) -> None:
    from syncsdk import UNSET

    def mapped(row: Any) -> dict[str, Any]:
        return {"sum": Decimal("0.30"), "big": 2**63, "left": UNSET, "none": None, "on": row["day"]}

    api.contacts = [contact(1, day="2026-03-01")]
    run("sync", api, listing, puts, MemoryStore(), mapping=mapped)

    (body,) = [body for method, _, _, body in api.seen if method == "PUT"]
    assert b'"sum":0.30' in body
    assert json.loads(body, parse_float=str) == {
        "sum": "0.30",
        "big": 2**63,
        "none": None,
        "on": "2026-03-01",
    }


def test_a_sink_says_how_it_can_write() -> None:
    with httpx.Client() as client:
        with pytest.raises(ConfigurationError, match="can neither upsert nor create and update"):
            RestSink(client, create=Route("POST", "/x"))
        assert creates(client).capabilities.idempotency_key
        assert not puts(client).capabilities.idempotency_key
        assert puts(client).capabilities.upsert


def test_any_client_with_the_transport_will_do(api: Api) -> None:
    api.contacts = [contact(1)]
    api.moods = [lambda *_: (503, {}, {})]
    transport = ReliableTransport(httpx.HTTPTransport(), retry=FAST)
    with httpx.Client(base_url=api.url, transport=transport) as client:
        flow = Pipeline(
            "p",
            source=listing(client),
            mapping=lambda row: {"name": row["name"]},
            mapping_version="1",
            sink=puts(client),
            owner="tests",
        )
        assert flow.run(MemoryStore()).counts.created == 1


@pytest.mark.parametrize("error", [httpx.ConnectError, httpx.ReadTimeout, httpx.ReadError])
def test_a_transport_that_fails_is_an_error_of_the_tree(error: type[Exception]) -> None:
    def fail(request: httpx.Request) -> httpx.Response:
        raise error("127.0.0.1 and more")

    client = httpx.Client(base_url="http://x", transport=httpx.MockTransport(fail))
    with client, pytest.raises(SyncError) as caught:
        list(listing(client).read())  # type: ignore[arg-type]

    assert "127.0.0.1" not in str(caught.value)
