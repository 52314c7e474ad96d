"""What a person and a scheduler see of the command line.

The main paths run the real command in a process of its own; the rest calls ``main``.
"""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from io import StringIO
from pathlib import Path
from textwrap import dedent
from typing import Any, NamedTuple
from unittest.mock import patch

import pytest

from syncsdk import MemoryStore, Pipeline, RunReport, SQLiteStore, cli
from syncsdk.engine import LEASE_TTL
from syncsdk.errors import ConfigurationError
from syncsdk.protocols import Counts, LetterStatus

pytest.importorskip("click")
pytest.importorskip("rich")

SECRET = "anna.secret@example.org"

ROWS = '''
"""Customers as people type them."""

from typing import Any

ROWS: list[Any] = [
    {"id": 1, "name": "Ann\\u0301a Müller", "email": "anna.secret@example.org"},
    {"id": "[bold]2[/]", "name": "  ", "email": "b@example.org, second@example.org"},
    {"id": "3", "name": "محمد", "email": None},
    {"id": "4\\x1b[31m", "name": "x" * 5000, "email": "👩@example.org"},
    {"id": "6", "name": "six", "email": "six@example.org"},
    {"id": "6", "name": "six again", "email": "six@example.org"},
    {"id": "5", "name": "five", "email": "not an address, but a secret"},
    {"id": None, "name": "nobody", "email": "n@example.org"},
    "not even a record, but a secret",
    {"id": "7,a", "name": "", "email": "@"},
]
'''

APP = '''
"""An app with messy customers, a shelf for them, and parts that misbehave."""

import asyncio
import json
import sys
from pathlib import Path

from neighbour import ROWS

from syncsdk import (
    Batch, Listing, MappingError, Pipeline, SinkCapabilities, SourceCapabilities, Token,
    TransientError,
)

HERE = Path(__file__).parent
print("the app says hello")


class Pages:
    capabilities = SourceCapabilities(Token())

    def __init__(self, rows=ROWS, size=3, key="id"):
        self.rows, self.size, self.key = rows, size, key

    def read(self, after):
        for at in range(int(after or 0), len(self.rows), self.size):
            page = self.rows[at : at + self.size]
            yield Batch.of(page, key=self.key, after=str(at + len(page)))


class Shelf:
    capabilities = SinkCapabilities(upsert=True)

    def write(self, changes):
        file = HERE / "shelf.json"
        held = json.loads(file.read_text()) if file.exists() else {}
        held |= {json.dumps(change.key): dict(change.record) for change in changes}
        file.write_text(json.dumps(held))
        return changes.applied()


def mapped(record):
    email = record.get("email")
    if email is None or email.count("@") != 1:
        kind = type(email).__name__
        raise MappingError(f"expected one address, got {kind}", path="email", code="address")
    return {"name": record["name"], "email": email}


def pipeline(name, source, sink=None, mapping=mapped):
    return Pipeline(
        name, source=source, mapping=mapping, mapping_version="1", sink=sink or Shelf(),
        owner="tests",
    )


customers = pipeline("customers", Pages())
number = 17


def made():
    return pipeline("made", Pages())


def needy(what):
    return what


def failing():
    return {}["no such setting"]


class Waiting(Pages):
    async def read(self, after):
        for batch in super().read(after):
            await asyncio.sleep(0)
            yield batch


waiting = pipeline("waiting", Waiting())


class Gated(Pages):
    """Says when it was asked for a page, and gives it once it is told to."""

    def read(self, after):
        for batch in super().read(after):
            print("asked", flush=True)
            sys.stdin.readline()
            yield batch


gated = pipeline("gated", Gated([{"id": i, "name": "", "email": "a@b"} for i in range(99)]))


class Limited(Pages):
    def read(self, after):
        raise TransientError("asked to wait", retry_after=60.0)


limited = pipeline("limited", Limited())


class Careless(Pages):
    def read(self, after):
        raise KeyError("anna.secret@example.org")
        yield


careless = pipeline("careless", Careless())


class Doubtful(Shelf):
    """Creates that time out, and cannot be looked for."""

    capabilities = SinkCapabilities()

    def write(self, changes):
        if (HERE / "quick").exists():
            return super().write(changes)
        raise TransientError("no answer in time")


PARTS = [{"shop": "north", "no": no, "name": "n", "email": "a@b"} for no in (1, "2,b")]
doubtful = pipeline("doubtful", Pages(PARTS, key=("shop", "no")), Doubtful())
'''


class Answer(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The one line of stdout, as data."""
        (line,) = self.out.splitlines()
        return json.loads(line)


@pytest.fixture(autouse=True)
def interruptible() -> Iterator[None]:
    """Let processes see SIGINT, also where a shell started the tests in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    # Bytecode is taken for that of a file of the same size, written in the same second.
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    (tmp_path / "neighbour.py").write_text(ROWS)
    (tmp_path / "app.py").write_text(APP)
    return tmp_path / "app.py"


@pytest.fixture
def store(tmp_path: Path) -> str:
    return str(tmp_path / "sync.db")


@pytest.fixture
def call(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Answer]:
    """Call ``main`` in this process, as with a new interpreter."""

    def called(*argv: object, stdin: str = "") -> Answer:
        monkeypatch.setattr(sys, "stdin", StringIO(stdin))
        capsys.readouterr()
        with as_it_was(), pytest.raises(SystemExit) as end:
            cli.main(list(map(str, argv)))
        assert isinstance(end.value.code, int)
        out, err = capsys.readouterr()
        return Answer(end.value.code, out, err)

    return called


@contextmanager
def as_it_was() -> Iterator[None]:
    """Forget the modules and the folders that an app brings."""
    path = list(sys.path)
    try:
        with patch.dict(sys.modules):
            yield
    finally:
        sys.path[:] = path


def loaded(target: str) -> Pipeline:
    with as_it_was():
        return cli.load(target)


def command(*argv: object) -> list[str]:
    return [sys.executable, "-m", "syncsdk.cli", *map(str, argv)]


def process(*argv: object, cwd: Path | None = None) -> Answer:
    """Run the real command to its end."""
    done = subprocess.run(
        command(*argv), capture_output=True, encoding="utf-8", timeout=60, check=False, cwd=cwd
    )
    return Answer(done.returncode, done.stdout, done.stderr)


class Gate:
    """The pipeline ``gated`` in a process; each page waits to be let through."""

    def __init__(self, app: Path, store: str) -> None:
        self.process = subprocess.Popen(
            command("run", f"{app}:gated", "--store", store, "--json"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
        )

    def __enter__(self) -> Gate:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate(timeout=60)

    def wait_until_asked(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            if line == "asked\n":
                return
        raise AssertionError("the run ended early")

    def let_through(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def end(self) -> Answer:
        out, err = self.process.communicate(timeout=60)
        return Answer(self.process.returncode, out, err)


# -- run -------------------------------------------------------------------------------


def test_a_run_prints_its_report_and_exits_with_its_code(app: Path, store: str) -> None:
    first = process("run", f"{app}:customers", "--store", store)
    second = process("run", f"{app}:customers", "--store", store)

    assert first.code == 1
    assert first.out.startswith("customers: partial (incremental)\n  10 read, 4 created, ")
    assert "refused 1 ×: map: email: expected one address, got NoneType" in first.out
    assert "the app says hello" in first.err
    assert second.code == 0
    assert second.out.startswith("customers: success")


def test_a_run_in_json_is_the_report_alone(app: Path, store: str) -> None:
    answer = process("run", f"{app}:customers", "--store", store, "--json")

    counts = Counts(**answer.json["counts"])
    assert (answer.code, answer.json["result"]) == (1, "partial")
    assert counts.balanced
    assert (counts.read, counts.created, counts.superseded) == (10, 4, 1)


def test_a_module_is_found_in_the_current_folder(app: Path, store: str) -> None:
    assert process("run", "app:made", "--store", store, "--json", cwd=app.parent).code == 1


def test_asynchronous_parts_run_on_an_event_loop(
    app: Path, store: str, call: Callable[..., Answer]
) -> None:
    answer = call("run", f"{app}:waiting", "--store", store, "--json")

    assert answer.json["counts"]["created"] == 4


def test_the_options_of_a_run_reach_it(app: Path, store: str, call: Callable[..., Answer]) -> None:
    few = call("run", f"{app}:customers", "--store", store, "--limit", 2, "--json")
    again = call(
        "run", f"{app}:customers", "--store", store, "--backfill", "--allow-deletes", "--json"
    )

    assert few.json["counts"]["read"] == 2
    assert (again.json["mode"], again.json["counts"]["read"]) == ("backfill", 10)


def test_a_paused_run_exits_with_75(app: Path, store: str, call: Callable[..., Answer]) -> None:
    answer = call("run", f"{app}:limited", "--store", store)

    assert answer.code == 75
    assert "asked to wait" in answer.out


def test_a_failed_run_tells_the_words_of_others_only_with_traceback(
    app: Path, store: str, call: Callable[..., Answer]
) -> None:
    plain = call("run", f"{app}:careless", "--store", store)
    traced = call("run", f"{app}:careless", "--store", store, "--traceback")

    assert (plain.code, traced.code) == (2, 2)
    assert "KeyError raised at app.py:" in plain.out
    assert SECRET not in plain.out + plain.err + traced.out
    assert SECRET in traced.err


def test_no_output_but_show_holds_a_value(
    app: Path, store: str, call: Callable[..., Answer]
) -> None:
    answers = [
        call("plan", f"{app}:customers", "--store", store, *form) for form in ([], ["--json"])
    ]
    answers.append(call("run", f"{app}:customers", "--store", store, "--json"))
    answers.append(call("run", f"{app}:customers", "--store", store, "--backfill"))
    for form in ([], ["--json"]):
        answers.append(call("status", "--store", store, *form))
        answers.append(call("dead-letters", "--store", store, "customers", *form))

    assert all("ecret" not in answer.out + answer.err for answer in answers)


def test_progress_off_a_terminal_is_at_most_a_line_a_second(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    pipeline: Any = None
    progress = cli._Progress(cli._Stop(pipeline), prints=True)
    report = RunReport("1", "p", "o", "incremental", datetime.now(UTC))
    for now in (0.1, 0.9, 1.5, 2.0, 2.4, 2.5, 3.0):
        report.counts.read = report.counts.created = round(now * 100)
        progress(report)

    lines = capsys.readouterr().err.splitlines()
    assert lines == ["150 read, 150 created (100/s)", "250 read, 250 created (100/s)"]


def test_a_terminal_shows_a_bar_and_stdout_the_report_alone(app: Path, store: str) -> None:
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        command("run", f"{app}:customers", "--store", store, "--json"),
        stdout=subprocess.PIPE,
        stderr=theirs,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "120"},
    ) as run:
        os.close(theirs)
        shown = b"".join(iter(lambda: _read(ours), b"")).decode()
        out, _ = run.communicate(timeout=60)
    os.close(ours)

    assert json.loads(out)["counts"]["read"] == 10
    assert "10 read, 4 created" in shown
    assert "/s)" in shown
    assert "━" in shown


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 65536)
    except OSError:  # how Linux says that the other end was closed
        return b""


# -- Signals ---------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_the_run_and_what_was_settled_stays(
    app: Path, store: str, number: signal.Signals
) -> None:
    with Gate(app, store) as gate:
        gate.wait_until_asked()
        gate.let_through()
        gate.wait_until_asked()
        gate.process.send_signal(number)
        gate.let_through()
        stopped = gate.end()
    (stand,) = process("status", "--store", store, "--json").json["pipelines"]

    assert (stopped.code, stopped.json["result"]) == (3, "stopped")
    assert stopped.json["counts"]["created"] == 6
    assert (stand["state"], stand["live"], stand["cursor"]) == ("idle", 6, True)


def test_a_second_signal_interrupts_and_lets_go_of_the_lease(app: Path, store: str) -> None:
    with Gate(app, store) as gate:
        gate.wait_until_asked()
        gate.let_through()
        gate.wait_until_asked()
        gate.process.send_signal(signal.SIGTERM)
        gate.process.send_signal(signal.SIGINT)
        answer = gate.end()
    (stand,) = process("status", "--store", store, "--json").json["pipelines"]

    assert (answer.code, answer.out) == (130, "")
    assert answer.err.endswith(
        "error: interrupted. What was committed is kept; the next run goes on from there\n"
    )
    assert (stand["state"], stand["live"], stand["last"]["result"]) == ("idle", 3, "failed")


def test_the_handlers_of_before_come_back(
    app: Path, store: str, call: Callable[..., Answer], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    call("run", f"{app}:customers", "--store", store)

    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


def test_a_signal_that_is_ignored_stays_ignored(
    app: Path,
) -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with cli._stopping(loaded(f"{app}:customers")):
            assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_signal_before_the_run_has_begun_stops_it_at_its_first_commit(
    app: Path, store: str, call: Callable[..., Answer], monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = cli._shown

    def late(stop: cli._Stop) -> Any:
        signal.raise_signal(signal.SIGTERM)
        return opened(stop)

    monkeypatch.setattr(cli, "_shown", late)
    answer = call("run", f"{app}:customers", "--store", store, "--json")

    assert (answer.code, answer.json["counts"]["read"]) == (3, 3)


# -- plan ------------------------------------------------------------------------------


def test_a_plan_lists_changes_and_refusals_and_leaves_no_trace(app: Path, store: str) -> None:
    answer = process("plan", f"{app}:customers", "--store", store)

    assert answer.code == 0
    assert answer.out.splitlines()[:4] == [
        "customers: 10 read, 1 superseded, 5 dead",
        "  to do: 4 to create, 0 to update, 0 to delete",
        "  operation  key",
        "  create     1",
    ]
    assert "  refused 1 ×: map: email: expected one address, got NoneType" in answer.out
    assert "this is the plan of a first run" in answer.err
    assert not Path(store).exists()


def test_a_plan_in_json_holds_keys_and_numbers(
    app: Path, store: str, call: Callable[..., Answer]
) -> None:
    call("run", f"{app}:customers", "--store", store, "--limit", 3)
    answer = call("plan", f"{app}:customers", "--store", store, "--json")

    assert answer.json["numbers"] == {"create": 3, "update": 0, "delete": 0}
    assert answer.json["changes"][0] == {"op": "create", "key": ["4\x1b[31m"]}
    assert answer.json["counts"]["dead"] == 3


def test_a_plan_whose_source_fails_says_where_and_not_what(
    app: Path, store: str, call: Callable[..., Answer]
) -> None:
    answer = call("plan", f"{app}:careless", "--store", store)

    assert answer.code == 2
    assert answer.err.splitlines()[-1].startswith(f"error: KeyError raised at {app}:")
    assert SECRET not in answer.err


# -- status ----------------------------------------------------------------------------


def test_status_tells_what_became_of_a_pipeline(app: Path, store: str) -> None:
    process("run", f"{app}:customers", "--store", store)
    answer = process("status", "--store", store)
    lines = answer.out.splitlines()

    assert answer.code == 0
    assert lines[0] == "customers: idle"
    assert lines[1].startswith("  last run: partial, 20")
    assert lines[2] == "  10 read, 4 created, 1 superseded, 5 dead"
    assert "  4 live records, 5 open dead letters, 0 writes in doubt, a cursor" in lines
    assert lines[-2].split() == ["started", "mode", "result", "counts"]
    assert lines[-1].endswith("incremental  partial  10 read, 4 created, 1 superseded, 5 dead")


def test_status_in_json_has_ten_runs_and_never_the_cursor(
    app: Path, store: str, call: Callable[..., Answer]
) -> None:
    for _ in range(11):
        call("run", f"{app}:customers", "--store", store)
    call("run", f"{app}:made", "--store", store)
    both = call("status", "--store", store, "--json").json["pipelines"]
    (one,) = call("status", "--store", store, "customers", "--json").json["pipelines"]

    assert [stand["pipeline"] for stand in both] == ["customers", "made"]
    assert both[0] == one
    assert (one["cursor"], len(one["runs"]), one["last"]) == (True, 10, one["runs"][0])
    assert one["letters"] == 5


def test_status_warns_of_a_backfill_that_is_due(
    app: Path, store: str, call: Callable[..., Answer]
) -> None:
    call("run", f"{app}:customers", "--store", store)
    app.write_text(APP.replace('mapping_version="1"', 'mapping_version="2"'))
    call("run", f"{app}:customers", "--store", store)

    assert (
        "  warning: backfill due: the mapping has changed" in call("status", "--store", store).out
    )


def test_status_tells_a_run_under_way_from_one_that_crashed(app: Path, store: str) -> None:
    with Gate(app, store) as gate:
        gate.wait_until_asked()
        gate.let_through()
        gate.wait_until_asked()
        during = process("status", "--store", store, "--json").json["pipelines"][0]
        gate.process.kill()
        gate.end()
    after = process("status", "--store", store, "--json").json["pipelines"][0]
    told = process("status", "--store", store).out
    process("run", f"{app}:gated", "--store", store, "--limit", 3)
    later = process("status", "--store", store, "--json").json["pipelines"][0]

    assert (during["state"], during["last"]["result"], during["live"]) == ("running", "running", 3)
    assert (after["state"], after["last"]["result"]) == ("crashed", "crashed")
    assert told.startswith("gated: crashed\n  last run: crashed, 20")
    assert [run["result"] for run in later["runs"]] == ["success", "crashed"]


def test_status_of_a_file_without_runs_says_so(store: str, call: Callable[..., Answer]) -> None:
    SQLiteStore(store).close()

    assert call("status", "--store", store).out == "no pipeline ever ran here\n"


# -- dead-letters ----------------------------------------------------------------------


@pytest.fixture
def letters(app: Path, store: str, call: Callable[..., Answer]) -> dict[str, int]:
    """The ids of the dead letters of ``customers``, by key."""
    call("run", f"{app}:customers", "--store", store)
    listed = call("dead-letters", "--store", store, "customers", "--json").json["letters"]
    return {".".join(each["key"]): each["id"] for each in listed}


def test_dead_letters_are_listed_without_values(
    letters: dict[str, int], store: str, call: Callable[..., Answer]
) -> None:
    answer = call("dead-letters", "--store", store, "customers")
    titles, *lines = answer.out.splitlines()

    assert titles.split() == ["id", "when", "key", "stage", "code", "reason"]
    assert len(lines) == 5
    assert [line[2] for line in lines] == list("12345")
    told = [line.split("UTC", 1)[1].split(maxsplit=3) for line in lines]
    assert [cells[:3] for cells in told] == [
        ["3", "map", "address"],
        ['["[bold]2[/]"]', "map", "address"],
        ["-", "read", "not_an_object"],
        ["-", "read", "key_missing"],
        ["5", "map", "address"],
    ]
    assert told[0][3].startswith("email: expected one address, got NoneType. ")


def test_show_displays_the_record_and_nothing_that_steers_a_terminal(
    letters: dict[str, int], store: str, call: Callable[..., Answer]
) -> None:
    shown = call("dead-letters", "--store", store, "customers", "show", letters["5"])
    data = call("dead-letters", "--store", store, "customers", "show", letters["5"], "--json")

    assert shown.code == 0
    assert '  "email": "not an address, but a secret"' in shown.out.splitlines()
    assert data.json["original"]["email"] == "not an address, but a secret"
    assert (data.json["status"], data.json["key"], data.json["mapped"]) == ("open", ["5"], None)


def test_help_says_that_show_hides_nothing(call: Callable[..., Answer]) -> None:
    told = " ".join(call("dead-letters", "--help").out.split())

    assert "the one place where values are displayed, those of sensitive fields too." in told


def test_discard_asks_first_and_closes_only_what_it_was_given(
    letters: dict[str, int], store: str, call: Callable[..., Answer]
) -> None:
    ask = "dead-letters", "--store", store, "customers", "discard", letters["3"], letters["5"]
    nobody = call(*ask)
    refused = call(*ask, stdin="n\n")
    agreed = call(*ask, stdin="y\n")

    assert (nobody.code, refused.code, agreed.code) == (2, 2, 0)
    assert refused.err.endswith("error: nothing was discarded. Answer y, or add --yes\n")
    # click before 8.4 leaves a space of its prompt on stdout.
    assert agreed.out.lstrip() == "2 dead letters discarded\n"
    assert "Discard 2 dead letters of customers for good?" in agreed.err
    memory = SQLiteStore(store)
    assert len(memory.letters("customers")) == 3
    assert [each.id for each in memory.letters("customers", status=LetterStatus.DISCARDED)] == [
        letters["3"],
        letters["5"],
    ]
    memory.close()


def test_runs_go_on_after_a_discard_and_status_tells_of_the_flow(
    letters: dict[str, int], app: Path, store: str, call: Callable[..., Answer]
) -> None:
    answer = call(
        "dead-letters", "--store", store, "customers", "discard", letters["3"], "--yes", "--json"
    )
    (stand,) = call("status", "--store", store, "--json").json["pipelines"]
    after = call("run", f"{app}:customers", "--store", store, "--json")

    assert answer.json == {"discarded": [letters["3"]]}
    assert [run["mode"] for run in stand["runs"]] == ["discard", "incremental"]
    assert (stand["state"], stand["last"]["mode"], stand["letters"]) == ("idle", "incremental", 4)
    assert (after.code, after.json["counts"]["read"]) == (0, 0)


def test_discard_exits_with_75_while_a_run_is_under_way(
    letters: dict[str, int], store: str, call: Callable[..., Answer]
) -> None:
    other = SQLiteStore(store)
    assert other.acquire("customers", "another run", LEASE_TTL) is not None
    answer = call("dead-letters", "--store", store, "customers", "discard", letters["3"], "--yes")
    other.close()

    assert answer.code == 75
    assert answer.err == (
        "error: a run of customers is under way, and nothing was discarded. "
        "Try again when it has ended\n"
    )


def test_discard_of_a_letter_that_is_not_open_closes_none(
    letters: dict[str, int], store: str, call: Callable[..., Answer]
) -> None:
    answer = call(
        "dead-letters", "--store", store, "customers", "discard", letters["3"], 999, "--yes"
    )

    assert answer.code == 2
    assert answer.err.startswith("error: customers has no such dead letter: 999. ")
    memory = SQLiteStore(store)
    with pytest.raises(ConfigurationError):
        cli.discard(memory, "customers", [letters["3"], 999])
    assert memory.totals("customers") == (5, 0)
    assert json.loads(memory.runs("customers")[0])["result"] == "failed"
    memory.close()


def test_discard_needs_nothing_of_sqlite(app: Path) -> None:
    memory = MemoryStore()
    loaded(f"{app}:customers").run(memory)
    letter = memory.letters("customers")[0]
    cli.discard(memory, "customers", [letter.id])

    assert letter.id not in [each.id for each in memory.letters("customers")]


# -- replay ----------------------------------------------------------------------------


def test_replay_delivers_what_the_mapping_now_takes(
    letters: dict[str, int], app: Path, store: str
) -> None:
    app.write_text(APP.replace('email is None or email.count("@") != 1', 'email == "@"'))
    answer = process("replay", f"{app}:customers", "--store", store, "--json")

    assert answer.json["mode"] == "replay"
    assert answer.json["counts"]["created"] == 3
    assert answer.code == answer.json["result"].startswith("partial")


def test_replay_takes_a_persons_word_for_a_create_in_doubt(
    app: Path, store: str, call: Callable[..., Answer]
) -> None:
    call("run", f"{app}:doubtful", "--store", store)
    call("run", f"{app}:doubtful", "--store", store)
    listed = call("dead-letters", "--store", store, "doubtful")
    (app.parent / "quick").touch()
    answer = call(
        "replay",
        f"{app}:doubtful",
        "--store",
        store,
        "--found",
        "north,1=id=17",
        "--found",
        '["north","2,b"]=',
        "--json",
    )

    assert "north,1 " in listed.out
    assert '["north", "2,b"]' in listed.out
    assert answer.code == 0
    assert (answer.json["counts"]["created"], answer.json["counts"]["updated"]) == (1, 1)


@pytest.mark.parametrize(
    ("text", "key", "dest_id"),
    [
        ("17=x", ("17",), "x"),
        ("17=", ("17",), None),
        ("a,b=c=d", ("a", "b"), "c=d"),
        ('["a,b","=",3]=', ("a,b", "=", "3"), None),
        ("é 👩=ü", ("é 👩",), "ü"),
        ("\x1b=", ("\x1b",), None),
    ],
)
def test_found_names_a_key_and_what_is_there(text: str, key: Any, dest_id: str | None) -> None:
    assert cli._answer(text) == (key, dest_id)
    assert cli._answer(f"{cli._key(key)}=")[0] == key


@pytest.mark.parametrize("text", ["17", "=x", "a,,b=x", "[1,2=x", "[1]x", "[null]=x", "[]=x"])
def test_found_that_names_no_key_is_refused(
    app: Path, store: str, call: Callable[..., Answer], text: str
) -> None:
    answer = call("replay", f"{app}:doubtful", "--store", store, "--found", text)

    assert answer.code == 2
    assert answer.err.startswith(f"error: --found {text} is not KEY=ID. Write ")


def test_found_for_a_key_without_a_letter_is_refused_before_anything_runs(
    letters: dict[str, int], app: Path, store: str, call: Callable[..., Answer]
) -> None:
    answer = call("replay", f"{app}:customers", "--store", store, "--found", "33=x")

    assert answer.code == 2
    assert answer.err.splitlines()[-1].startswith("error: no open dead letter has the key 33. ")
    assert len(call("status", "--store", store, "--json").json["pipelines"][0]["runs"]) == 1


# -- Errors ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("app.py", "app.py does not name a pipeline. Write path/to/app.py:NAME"),
        ("{}:", "does not name a pipeline. "),
        ("no/such.py:customers", "there is no Python file no/such.py. Correct the path"),
        ("{}:customer", "is not there, and not a Pipeline. There is customers, waiting, gated"),
        ("{}:number", "is of type int, and not a Pipeline. There is customers"),
        ("{}:needy", "needy() raised TypeError: needy() missing 1 required positional argument"),
        ("{}:failing", "/app.py:57: 'no such setting'. Mend it; --traceback"),
        ("no_such_package.module:x", "raised ModuleNotFoundError: No module named"),
    ],
)
def test_a_pipeline_that_cannot_be_had_is_told_in_one_line(
    app: Path, store: str, call: Callable[..., Answer], target: str, said: str
) -> None:
    answer = call("run", target.format(app), "--store", store)
    (line,) = [line for line in answer.err.splitlines() if line != "the app says hello"]

    assert (answer.code, answer.out) == (2, "")
    assert line.startswith("error: ")
    if "app.py:57" in said:
        assert "failing() raised KeyError at " in line
        said = said.partition(":57")[2]
    assert said in line


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("x = 1\nx = 1 / 0\n", 2, "ZeroDivisionError"),
        ("import neighbour\nimport json\njson.loads('{')\n", 3, "JSONDecodeError"),
        ("\n\ndef broken(:\n", 3, "SyntaxError"),
        ("import sys\nsys.exit(0)\n", 2, "SystemExit"),
        (
            "from syncsdk import Pipeline\nPipeline('', source=1, mapping=1, sink=1, owner='')\n",
            2,
            "ConfigurationError",
        ),
    ],
)
def test_an_app_that_raises_on_import_is_told_with_file_and_line(
    app: Path, store: str, call: Callable[..., Answer], text: str, line: int, said: str
) -> None:
    app.write_text(dedent(text))
    answer = call("run", f"{app}:customers", "--store", store)

    assert answer.code == 2
    assert answer.err.startswith(f"error: {app} raised {said} at {app}:{line}: ")
    assert len(answer.err.splitlines()) == 1


MAPPINGS = """
from typing import Any

from attrs import define
from syncsdk.mapping import mapping, text, to


@define
class Ends:
    name: str
    city: str
    note: str | None


@mapping
def ends(s: Ends) -> Ends:
    return to(Ends)(name=text(s.name), city=..., note=text(s.note, missing="\\x1b[31m", max=3))
"""


@pytest.mark.parametrize("command", ["run", "document"])
def test_all_that_is_wrong_with_a_mapping_is_told_a_line_each(
    tmp_path: Path, store: str, call: Callable[..., Answer], command: str
) -> None:
    folder = tmp_path / "a\x1b[31m folder"
    folder.mkdir()
    (folder / "ends.py").write_text(MAPPINGS)
    (folder / "uses.py").write_text("from ends import ends\n")
    options = ["--store", store] if command == "run" else []
    answer = call(command, f"{folder}/uses.py:ends", *options)

    head, *lines = answer.err.splitlines()
    assert (answer.code, answer.out) == (2, "")
    assert head == "error: the mapping ends has 3 problems:"
    at = f"  {tmp_path}/a\\x1b[31m folder/ends.py:17: "
    assert [line.startswith(at) for line in lines[:3]] == [True] * 3
    assert [line.removeprefix(at).partition(" ")[0] for line in lines[:3]] == [
        "city",
        "text",
        "city",
    ]
    assert "\x1b" not in answer.err


def test_the_words_of_others_stay_on_one_line(
    app: Path, store: str, call: Callable[..., Answer]
) -> None:
    app.write_text("raise ValueError('one\\n  two\\r\\u2028three')\n")
    answer = call("run", f"{app}:customers", "--store", store)

    assert answer.err == (
        f"error: {app} raised ValueError at {app}:1: one two three. "
        "Mend it; --traceback shows the way there\n"
    )


def test_a_neighbour_that_raises_is_named(
    app: Path, store: str, call: Callable[..., Answer]
) -> None:
    (app.parent / "neighbour.py").write_text("\nraise RuntimeError('no key set')\n")
    answer = call("run", f"{app}:customers", "--store", store)

    assert answer.err.startswith(
        f"error: {app} raised RuntimeError at {app.parent}/neighbour.py:2: no key set. "
    )


def test_a_traceback_comes_when_it_is_asked_for(app: Path, store: str) -> None:
    app.write_text("1 / 0\n")
    answer = process("run", f"{app}:customers", "--store", store, "--traceback")

    assert answer.code == 2
    assert "Traceback (most recent call last)" in answer.err
    assert f'File "{app}", line 1' in answer.err


@pytest.mark.parametrize(
    "argv",
    [
        ["status"],
        ["dead-letters", "customers"],
        ["dead-letters", "customers", "show", "1"],
        ["replay", "{}:customers"],
    ],
)
def test_a_state_file_that_is_not_there_is_refused_and_not_made(
    app: Path, store: str, call: Callable[..., Answer], argv: list[str]
) -> None:
    answer = call(*[each.format(app) for each in argv], "--store", store)

    assert answer.code == 2
    assert answer.err.splitlines()[-1] == (
        f"error: there is no state file {store}. Name the one that the runs were given"
    )
    assert not Path(store).exists()


def test_a_store_that_is_refused_is_told_in_one_line(
    app: Path, tmp_path: Path, call: Callable[..., Answer]
) -> None:
    foreign = tmp_path / "letter.txt"
    foreign.write_text("Dear Sir or Madam, " * 100)
    answer = call("run", f"{app}:customers", "--store", foreign)

    assert answer.code == 2
    assert answer.err.splitlines()[-1].startswith(
        f"error: {foreign} is not a state file of syncsdk"
    )


def test_a_pipeline_that_never_ran_is_refused_with_those_that_did(
    letters: dict[str, int], store: str, call: Callable[..., Answer]
) -> None:
    for argv in (["status", "custmers"], ["dead-letters", "custmers", "discard", "1", "--yes"]):
        answer = call(*argv, "--store", store)
        assert answer.code == 2
        assert answer.err == ("error: no pipeline custmers ever ran here. There is customers\n")


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        ([], "error: missing command. See `syncsdk --help`"),
        (["rum"], "error: no such command 'rum'"),
        (["run", "x:y"], "error: missing option '--store'. See `syncsdk run --help`"),
        (["run", "x:y", "--store", "s", "--limit", "0"], "error: invalid value for '--limit'"),
        (["dead-letters", "--store", "s", "p", "shew"], "error: invalid value for '[show ID"),
    ],
)
def test_a_command_that_is_misspelt_is_told_in_one_line(
    call: Callable[..., Answer], argv: list[str], said: str
) -> None:
    answer = call(*argv)

    assert (answer.code, answer.out) == (2, "")
    assert answer.err.startswith(said)
    assert len(answer.err.splitlines()) == 1


def test_help_lists_every_command(call: Callable[..., Answer]) -> None:
    answer = call("--help")

    assert answer.code == 0
    assert all(
        f"  {name}  " in answer.out for name in ("run", "plan", "status", "dead-letters", "replay")
    )
    assert "--traceback" in call("replay", "--help").out


def test_a_reader_who_leaves_early_is_no_error(letters: dict[str, int], store: str) -> None:
    done = subprocess.run(
        f"{' '.join(command('status', '--store', store))} | true",
        shell=True,
        capture_output=True,
        encoding="utf-8",
        timeout=60,
        check=False,
    )

    assert done.stderr == ""


def test_without_its_packages_the_command_says_what_to_install(tmp_path: Path) -> None:
    (tmp_path / "click.py").write_text("raise ImportError")
    done = subprocess.run(
        command("run"),
        capture_output=True,
        encoding="utf-8",
        timeout=60,
        check=False,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
    )

    assert done.returncode == 2
    assert done.stderr == (
        'error: the command line needs click and rich. pip install "syncsdk[cli]"\n'
    )


def test_the_library_never_imports_the_command_line() -> None:
    code = (
        "import sys, syncsdk; [getattr(syncsdk, name) for name in syncsdk.__all__];"
        "print([name for name in ('syncsdk.cli', 'click', 'rich') if name in sys.modules])"
    )
    out = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, encoding="utf-8", check=True
    ).stdout

    assert out == "[]\n"
