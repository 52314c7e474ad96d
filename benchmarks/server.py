"""Where records come from: a JSON API in a process of its own, never the slower side.

``GET /contacts?limit=500&after=VALUE,ID`` returns ``{"items": [...]}``, what sorts after a
place by ``updated_at``, ``id``. ``GET /changed/contacts`` is the same with one record in a
hundred changed, five in every page, each with a later ``updated_at``; ``GET /few/contacts``
is one page. All pages are rendered before the first request; what is left to do for one is
to find and send it.

``python -m benchmarks.server RECORDS KEYS`` prints its address, and serves until its
standard input is closed.
"""

from __future__ import annotations

import json
import random
import socket
import socketserver
import sys
import threading
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

PAGE = 500
BODIES = 1009
"""Different contents; a prime, so that they do not fall in step with the pages."""

_START = datetime(2024, 1, 1, tzinfo=UTC)
_GIVEN = ("Anna", "Bjørn", "Chloé", "David", "Emma", "Fatima", "Guy", "Hannah", "Ivan", "Jo")
_FAMILY = ("Novak", "Smith", "Müller", "Okafor", "Tanaka", "Garcia", "Jones", "Brown", "Ng", "Roy")
_STATUSES = ("LEAD", "CONTACTED", "QUALIFIED", "WON", "LOST", "BLOCKED")
_STREETS = ("Mill Lane", "Station Road", "Rue de la Gare", "Main Street", "Hauptstraße")
_CITIES = ("Leeds", "Lyon", "Bremen", "Porto", "Austin", "Osaka", "Ghent")
_NOTES = (
    "Called about the invoice from March and wants a callback before Friday. ",
    "Prefers email to phone. ",
    "Asked for a discount on the yearly plan; will decide next week, after the board met. ",
    "Die Rechnung geht künftig an die Zentrale. ",
    "Met at the fair, interested in the API. ",
)


def bodies() -> list[str]:
    """Return the contents of contacts: all but key and version, as JSON without braces."""
    draw = random.Random(20)
    made = []
    for at in range(BODIES):
        given, family = draw.choice(_GIVEN), draw.choice(_FAMILY)
        kinds = ["billing", "shipping", "home", "office"]
        draw.shuffle(kinds)
        created = _START - timedelta(seconds=draw.randrange(10**8))
        contact: dict[str, Any] = {
            "full_name": f"{given} {family}",
            "email": f"{given}.{family}.{at}@Example.org",
            "status": draw.choice(_STATUSES),
            "balance": f"{draw.randrange(10**7) / 100:.2f}",
            "phone": f"+44 20 {draw.randrange(10**8):08}",
            "created": created.isoformat(timespec="seconds").replace("+00:00", "+02:00"),
            "addresses": [
                {
                    "kind": kind,
                    "street": f"{draw.randrange(1, 200)} {draw.choice(_STREETS)}",
                    "city": draw.choice(_CITIES),
                    "postcode": f"{draw.randrange(10**5):05}",
                    "country": draw.choice(("GB", "FR", "DE", "PT", "US", "JP", "BE")),
                }
                for kind in kinds[: draw.randrange(1, 5)]
            ],
            "tags": draw.sample(("vip", "newsletter", "trial", "partner"), draw.randrange(3)),
            "notes": "".join(draw.choices(_NOTES, weights=(4, 4, 4, 1, 4), k=draw.randrange(2, 9))),
        }
        made.append(json.dumps(contact, ensure_ascii=False, separators=(",", ":"))[1:-1])
    return made


def pages(records: int, keys: str, *, changed: bool) -> Iterator[tuple[str, bytes]]:
    """Yield each page with the place after which it starts; the last one is empty."""
    contents, draw = bodies(), random.Random(7)
    after, page = "", []
    for at in range(records):
        moment = _START + timedelta(seconds=7 * at)
        content = contents[at % BODIES]
        if changed and at % 100 == 0:
            moment += timedelta(seconds=1)
            content = contents[(at + 1) % BODIES]
        random_key = uuid.UUID(int=draw.getrandbits(128), version=4)
        key = f"C{at:08}" if keys == "sequential" else str(random_key)
        version = f"{moment:%Y-%m-%dT%H:%M:%S}Z"
        page.append(f'{{"id":"{key}","updated_at":"{version}",{content}}}')
        if len(page) == PAGE or at == records - 1:
            yield after, _response(page)
            after, page = f"{version},{key}", []
    yield after, _response([])


def _response(items: list[str]) -> bytes:
    body = f'{{"items":[{",".join(items)}]}}'.encode()
    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    return head.encode() + b"\r\n" + body


class Handler(socketserver.StreamRequestHandler):
    """Answers requests on one connection, one after the other."""

    disable_nagle_algorithm = True
    pages: dict[tuple[str, str], bytes]

    def handle(self) -> None:
        while line := self.rfile.readline():
            while self.rfile.readline() not in (b"\r\n", b""):
                pass
            url = urlsplit(line.split()[1].decode())
            after = parse_qs(url.query).get("after", [""])[0]
            self.connection.sendall(self.pages[url.path, after])


class Server(socketserver.ThreadingTCPServer):
    """Serves on a free port of this machine only."""

    daemon_threads = True
    request_queue_size = socket.SOMAXCONN


def main() -> None:
    """Serve until standard input is closed."""
    records, keys = int(sys.argv[1]), sys.argv[2]
    Handler.pages = {}
    for path, number, changed in (
        ("/contacts", records, False),
        ("/changed/contacts", records, True),
        ("/few/contacts", PAGE, False),
    ):
        for after, response in pages(number, keys, changed=changed):
            Handler.pages[path, after] = response
    with Server(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        print(f"http://127.0.0.1:{server.server_address[1]}", flush=True)
        sys.stdin.read()
        server.shutdown()


if __name__ == "__main__":
    main()
