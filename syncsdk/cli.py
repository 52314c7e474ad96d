"""The command line: run a pipeline, look at its state, take care of its dead letters.

Decides what a person or a scheduler sees: stdout holds what was asked for, as text or as
one JSON object; progress, errors and whatever the app prints go to stderr; the exit code is
the report's. The only room that installs signal handlers. No value of a record is displayed,
but by ``dead-letters show``. Leaves all work to ``pipeline``, what is kept to ``stores``.

Read :func:`main` and :func:`_commands`, then a command: :func:`run`, :func:`plan`,
:func:`status`, :func:`dead_letters`, :func:`replay`, and for mappings :func:`document`,
:func:`approve`, :func:`profile`, :func:`scaffold`; last :func:`load`, which finds the
pipeline. Needs the extra ``cli``; click and rich are imported where they are used, so that
:func:`main` can say so.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import io
import itertools
import json
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import partial
from pathlib import Path
from types import FrameType, ModuleType
from typing import TYPE_CHECKING, Any, Final, NoReturn, TypeVar

from attrs import asdict, frozen

from . import stores
from .errors import ConfigurationError, RecordError, SyncError, TransientError
from .pipeline import Pipeline, check_open, discard, no_letters, open_letters
from .protocols import OUTCOMES, Result, RunReport, StateStore
from .values import Key, as_key

if TYPE_CHECKING:
    import click

_T = TypeVar("_T")

__all__ = ["discard", "load", "main"]


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Run the command that ``argv`` (or the process's arguments) asks for, and exit."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a key in emoji must not cost the report
            stream.reconfigure(errors="backslashreplace")
    try:
        import click
        import rich  # noqa: F401
    except ImportError:
        _complain('the command line needs click and rich. pip install "syncsdk[cli]"')
        sys.exit(2)
    try:
        code: int = _commands().main(argv, prog_name="syncsdk", standalone_mode=False)
    except click.UsageError as error:
        said = error.format_message().rstrip(".")
        path = error.ctx.command_path if error.ctx else "syncsdk"
        _complain(f"{said[:1].lower()}{said[1:]}. See `{path} --help`")
        code = 2
    except click.Abort:  # what click makes of a KeyboardInterrupt
        _complain("interrupted. What was committed is kept; the next run goes on from there")
        code = 130  # 128 and the number of SIGINT, as shells have it
    sys.exit(code)


def _commands() -> click.Group:
    """Return all commands with their options: the table of what one can ask for."""
    import click

    def argument(name: str, **how: Any) -> click.Argument:
        return click.Argument([name], **how)

    def option(names: str, text: str, **how: Any) -> click.Option:
        return click.Option(names.split(), help=text, **how)

    flag = partial(option, is_flag=True)
    found = "What the destination holds of a key whose create is in doubt: KEY=ID, or KEY= if "
    found += "nothing. Parts of a key are separated by commas, or stand in a JSON array."
    action = {"type": click.Choice(["show", "discard"]), "metavar": "[show ID | discard ID...]"}
    app = argument("app", metavar="APP.py:PIPELINE")
    store = option("--store", "The SQLite file with the state.", metavar="FILE", required=True)
    mapping = argument("app", metavar="APP.py:MAPPING")
    sample = option("--sample", _SAMPLE, metavar="FILE")
    out = option("--out", "Write it here, and not to stdout.", metavar="FILE")
    limit = option("--limit", "Read at most so many records.", type=click.IntRange(min=1))
    backfill = flag("--backfill", "Read everything again and write what differs.")
    deletes = flag("--allow-deletes", "Delete more than the pipeline's max_deletes allows.")
    common = [
        flag("--json as_json", "Print one JSON object."),
        flag("--traceback", "Show where an error comes from; its words may quote a record."),
    ]
    table: dict[Callable[..., int], list[click.Parameter]] = {
        run: [app, store, limit, backfill, deletes],
        plan: [app, store, limit],
        status: [argument("pipeline", required=False), store],
        dead_letters: [
            argument("pipeline"),
            argument("action", required=False, **action),
            argument("ids", type=int, nargs=-1, metavar=""),
            store,
            flag("--yes", "Discard without asking."),
        ],
        replay: [app, store, option("--found", found, multiple=True, metavar="KEY=[ID]")],
        document: [
            mapping,
            option("--format", "What to write.", type=click.Choice(["md", "csv", "html"])),
            sample,
            out,
        ],
        approve: [
            mapping,
            option("--who", "Who agrees to it.", required=True),
            option("--role", "As what.", required=True),
            option("--note", "What else there is to say.", default=""),
        ],
        profile: [
            mapping,
            option("--sample", _SAMPLE, metavar="FILE", required=True),
            option("--key", "The field that holds the key."),
            option("--maps", "Fail below this share of records that map, in percent.", type=float),
            option("--html", "Write the document with the report here too.", metavar="FILE"),
        ],
        scaffold: [
            argument("classes", nargs=-1, metavar="[APP.py:SOURCE APP.py:DESTINATION]"),
            sample,
            option("--name", "The name of the class.", default="Record"),
        ],
    }
    commands = [
        click.Command(
            function.__name__.replace("_", "-"),
            callback=partial(_called, function),
            params=[*params, *common],
            help=function.__doc__,
        )
        for function, params in table.items()
    ]
    text = "Keep two systems in step: run pipelines, and look after them."
    return click.Group("syncsdk", help=text, commands=commands, no_args_is_help=False)


def _called(function: Callable[..., int], *, as_json: bool, traceback: bool, **given: Any) -> int:
    """Call a command and return its exit code; tell of an error in one line.

    But all that is wrong with a mapping is told, a line each.
    """
    screen = Screen(as_json, traceback)
    try:
        return function(screen, **given)
    except BrokenPipeError:  # click's to answer: nobody reads on
        raise
    except Exception as error:
        screen.trace(error)
        if not isinstance(error, SyncError):  # its words may quote a record
            _complain(f"{type(error).__qualname__} raised{_place(error)}. See it with --traceback")
            return 2
        _complain(*(str(error).splitlines() if _is_of_a_mapping(error) else [str(error)]))
        # As for runs: what says when to come back is a pause.
        is_pause = isinstance(error, TransientError) and error.retry_after is not None
        return (Result.PAUSED if is_pause else Result.FAILED).exit_code


# -- Commands --------------------------------------------------------------------------


def run(screen: Screen, *, app: str, store: str, **options: Any) -> int:
    """Run a pipeline, and print the report.

    APP.py is the path of a Python file (or package.module), PIPELINE a Pipeline in it, or a
    function without arguments that returns one.

    Exits with 0 (all done, or another run is under way), 1 (partial), 2 (failed), 3
    (stopped) or 75 (paused). SIGTERM and SIGINT stop it after the batch at hand; a second
    one interrupts it (130).
    """
    with _aside():
        pipeline = load(app)
        with _opened(store) as memory, _stopping(pipeline) as stop, _shown(stop) as progress:
            calls = pipeline.run, pipeline.run_async
            report = _finished(*calls, memory, progress=progress, **options)
    return screen.report(report)


def plan(screen: Screen, *, app: str, store: str, limit: int | None) -> int:
    """Show what a run would change; nothing is written."""
    with _aside():
        pipeline = load(app)
        is_first = not os.path.exists(store) and os.path.isdir(os.path.dirname(store) or ".")
        memory = stores.MemoryStore() if is_first else stores.SQLiteStore(store)
        with contextlib.closing(memory):
            made = pipeline.plan(memory, limit=limit)
    if is_first:
        _note(f"there is no {store} yet: this is the plan of a first run")
    numbers = {str(op): number for op, number in made.numbers.items()}
    listed = made.changes[:50]
    hidden = sum(numbers.values()) - len(listed)
    return screen.say(
        {
            "counts": asdict(made.counts),
            "numbers": numbers,
            "changes": [{"op": op, "key": key} for op, key in made.changes],
            "refusals": made.refusals,
        },
        f"{pipeline.name}: {_counts(asdict(made.counts))}",
        f"  to do: {', '.join(f'{number} to {op}' for op, number in numbers.items())}",
        *_table(["operation", "key"], [[op, _key(key)] for op, key in listed]),
        *([f"  and {hidden} more"] if hidden else []),
        *[f"  refused {number} ×: {why}" for why, number in made.refusals.items()],
    )


def status(screen: Screen, *, store: str, pipeline: str | None) -> int:
    """Show how pipelines stand, and their last runs."""
    with _opened(store, new=False) as memory:
        names = memory.pipelines() if pipeline is None else [_known(memory, pipeline)]
        stands = [_standing(memory, name) for name in names]
    lines = [line for stand in stands for line in _told(**stand)]
    return screen.say({"pipelines": stands}, *(lines or ["no pipeline ever ran here"]))


def _standing(memory: stores.SQLiteStore, name: str) -> dict[str, Any]:
    checkpoint, (letters, intents) = memory.load(name), memory.totals(name)
    state = memory.standing(name)
    runs: list[dict[str, Any]] = [json.loads(report) for report in memory.runs(name, 20)]
    if runs and state != "idle":  # until it ends, its report says success
        runs[0]["result"] = state
    # Discarding a letter takes the lease as a run does, but is no news of the flow.
    flows = [each for each in runs if each.get("mode") != _DISCARD]
    return {
        "pipeline": name,
        "state": state,
        "last": flows[0] if flows else {},
        "live": checkpoint.live,
        "letters": letters,
        "intents": intents,
        "cursor": checkpoint.cursor is not None,
        "warnings": next((each["warnings"] for each in flows if "warnings" in each), []),
        "runs": runs[:10],
    }


def _told(
    pipeline: str, state: str, last: dict[str, Any], runs: list[dict[str, Any]], **stand: Any
) -> Iterator[str]:
    yield f"{pipeline}: {state}"
    if last:
        ended = last.get("finished_at") or last.get("started_at")
        yield f"  last run: {last['result']}, {_when(ended)}"
        yield f"  {_counts(last.get('counts', {}))}"
    if last.get("reason"):
        yield f"  {last['reason']}" + (f". {last['remedy']}" if last.get("remedy") else "")
    yield (
        f"  {stand['live']} live records, {stand['letters']} open dead letters, "
        f"{stand['intents']} writes in doubt, {'a' if stand['cursor'] else 'no'} cursor"
    )
    yield from (f"  warning: {warning}" for warning in stand["warnings"])
    yield from _table(
        ["started", "mode", "result", "counts"],
        [
            (_when(it.get("started_at")), it.get("mode", "-"), it["result"], _counts(it["counts"]))
            for it in ({"counts": {}, **each} for each in runs)
        ],
    )


def dead_letters(
    screen: Screen, *, store: str, pipeline: str, action: str | None, ids: Sequence[int], yes: bool
) -> int:
    """List open dead letters, show or discard them.

    `show` displays the record as it was read and as it was mapped: the one place where
    values are displayed, those of sensitive fields too. `discard` closes letters for good;
    nothing is delivered.
    """
    with _opened(store, new=False) as memory:
        _known(memory, pipeline)
        if action == "show":
            return _show(screen, memory, pipeline, ids)
        if action == "discard":
            return _discard(screen, memory, pipeline, ids, yes)
        letters = list(open_letters(memory, pipeline))
    names = "id", "at", "key", "stage", "code", "reason"
    listed = [{name: _data(name, getattr(letter, name)) for name in names} for letter in letters]
    rows = [
        [it.id, _when(it.at.isoformat()), _key(it.key), it.stage, it.code, it.reason]
        for it in letters
    ]
    lines = _table(["id", "when", *names[2:]], rows) or ["no open dead letters"]
    return screen.say({"letters": listed}, *lines)


def _show(screen: Screen, memory: StateStore, pipeline: str, ids: Sequence[int]) -> int:
    if len(ids) != 1:
        raise ConfigurationError("show takes one id", remedy="Give that of one dead letter")
    found = memory.letters(pipeline, status=None, after=ids[0] - 1, limit=1)
    if not found or found[0].id != ids[0]:
        raise no_letters(pipeline, ids)
    shown = {name: _data(name, value) for name, value in asdict(found[0], recurse=False).items()}
    lines: list[str] = []
    for name, value in shown.items():
        text = value if isinstance(value, str) else json.dumps(value, indent=2, ensure_ascii=False)
        lines += f"{name}: {text}".splitlines()
    return screen.say(shown, *lines)


def _data(name: str, value: Any) -> Any:
    """Return a letter's field as JSON has it; records keep the tags of ``values.pack``."""
    if name in ("original", "mapped") and value is not None:
        return json.loads(value)
    if isinstance(value, bytes):
        return value.hex()
    return value.isoformat() if isinstance(value, datetime) else value


def _discard(
    screen: Screen, memory: StateStore, pipeline: str, ids: Sequence[int], yes: bool
) -> int:
    import click

    if not ids:
        raise ConfigurationError("discard takes ids", remedy="Give those of open dead letters")
    check_open(memory, pipeline, ids)
    try:
        asked = f"Discard {len(set(ids))} dead letters of {pipeline} for good?"
        agreed = yes or click.confirm(asked, err=True)
    except click.Abort:  # there is nobody to ask
        agreed = False
    if not agreed:
        raise ConfigurationError("nothing was discarded", remedy="Answer y, or add --yes")
    discard(memory, pipeline, ids)
    return screen.say({"discarded": sorted(set(ids))}, f"{len(set(ids))} dead letters discarded")


_DISCARD: Final = "discard"


def replay(screen: Screen, *, app: str, store: str, found: Sequence[str]) -> int:
    """Deliver the open dead letters again.

    They are mapped with today's mapping. Prints the report, and exits as `run` does.
    """
    answers = dict(map(_answer, found))
    with _aside():
        pipeline = load(app)
        with _opened(store, new=False) as memory, _stopping(pipeline):
            unknown = set(answers) - {each.key for each in open_letters(memory, pipeline.name)}
            if unknown:
                raise ConfigurationError(
                    f"no open dead letter has the key {' or '.join(map(_key, sorted(unknown)))}",
                    remedy="Give keys as `syncsdk dead-letters` lists them",
                )
            report = _finished(pipeline.replay, pipeline.replay_async, memory, found=answers)
    return screen.report(report)


def _answer(text: str) -> tuple[Key, str | None]:
    """Return the key and the destination's id that a ``--found`` names."""
    try:
        if text.startswith("["):
            parts, end = json.JSONDecoder().raw_decode(text)
        else:
            end = text.index("=")
            parts = text[:end].split(",")
        if text[end : end + 1] != "=":
            raise ValueError("no equals sign")
        return as_key(parts), text[end + 1 :] or None
    except (ValueError, RecordError) as error:
        raise ConfigurationError(
            f"--found {text} is not KEY=ID",
            remedy='Write 17=ID; a,b=ID for a key of two parts; ["a,b","c"]=ID if a part holds a '
            "comma or an equals sign; and nothing after = for a record that is not there",
        ) from error


def _key(key: Sequence[str]) -> str:
    """Return a key as a person reads it, and as ``--found`` takes it."""
    text = "".join(key)
    if set(text) & set(",=[") or not text.isprintable():
        return json.dumps(key, ensure_ascii=not text.isprintable())
    return ",".join(key) or "-"


# -- Mappings --------------------------------------------------------------------------

_SAMPLE: Final = "Records, one JSON object a line."


def document(
    screen: Screen, *, app: str, format: str | None, sample: str | None, out: str | None
) -> int:
    """Write what a mapping decides, for who signs it.

    With --sample it tells beside the rules what all records of the sample hold, and what
    becomes of them; the first three are the examples. Values of sensitive fields are not shown.
    """
    with _aside():
        mapper = _mapper(app)
        shown, held = _profiled(mapper, sample) if sample else ([], None)
    suffix = Path(out or "").suffix.removeprefix(".")
    kind = format or (suffix if suffix in ("csv", "html") else "md")
    text = mapper.document(kind, examples=shown, profile=held)
    if out is not None:
        Path(out).write_text(text, encoding="utf-8")
        return screen.say({"written": out, "digest": mapper.digest}, f"written to {out}")
    return screen.say({"document": text}, *text.splitlines())


def approve(screen: Screen, *, app: str, who: str, role: str, note: str) -> int:
    """Write that somebody agrees to a mapping as it is now.

    The file that `@mapping(approved=...)` names gets digest, name, role and date, and the
    document lies beside it. Shows what is new in the document since it was last approved.
    """
    from .mapping.approval import approve, differences

    with _aside():
        mapper = _mapper(app)
    changed = differences(mapper)
    if changed is None:
        shown = [f"there was no approved document of {mapper.name} before"]
    else:
        shown = changed
    path = approve(mapper, who=who, role=role, date=datetime.now().astimezone().date(), note=note)
    return screen.say(
        {"approval": str(path), "digest": mapper.digest, "changed": changed},
        *shown,
        f"{mapper.name} is approved by {who} ({role}): {path}",
    )


def profile(
    screen: Screen, *, app: str, sample: str, key: str | None, maps: float | None, html: str | None
) -> int:
    """Show what real records hold, and what a mapping makes of them.

    Exits with 1 if fewer of them map than --maps asks for. --html writes what `document`
    writes of the sample. Values of sensitive fields are not shown.
    """
    with _aside():
        mapper = _mapper(app)
        shown, told = _profiled(mapper, sample, key=key)
    if html is not None:
        text = mapper.document("html", examples=shown, profile=told)
        Path(html).write_text(text, encoding="utf-8")
    screen.say(json.loads(told.as_json()), *str(told).splitlines())
    missed = [] if maps is None else told.expect(maps=maps, unmapped_options=sys.maxsize)
    for sentence in missed:
        _complain(sentence)
    return int(bool(missed))


def scaffold(screen: Screen, *, classes: Sequence[str], sample: str | None, name: str) -> int:
    """Draft a mapping between two classes, or the class that describes a sample.

    It is a module to be edited: `syncsdk scaffold shop.py:Order erp.py:Invoice > invoices.py`.
    Every decision is `...`, and is refused until somebody takes it.
    """
    from .mapping.scaffold import describe, draft

    if sample is not None and not classes:
        text = describe(_records(sample), name)
    elif len(classes) == 2:
        with _aside():
            source, destination = (loaded(each, type, "class") for each in classes)
        modules = _home(classes[0], source), _home(classes[1], destination)
        text = draft(source, destination, modules=modules)
    else:
        raise ConfigurationError(
            "scaffold takes two classes or a sample",
            remedy="Give APP.py:SOURCE APP.py:DESTINATION, or --sample FILE",
        )
    return screen.say({"draft": text}, *text.splitlines())


def _home(target: str, kind: type) -> str:
    """Return the module from which a draft imports the class that a target names."""
    where = target.rpartition(":")[0]
    home = Path(where).stem if where.endswith(".py") else where
    is_there = getattr(sys.modules.get(home), kind.__name__, None) is kind
    if not is_there or not home.replace(".", "_").isidentifier():
        raise ConfigurationError(
            f"a draft cannot say `from {home} import {kind.__name__}` for {target}",
            remedy="Give the class its own name, in a module whose name Python can import",
        )
    return home


def _mapper(app: str) -> Any:
    from .mapping import TypedMapper

    return loaded(app, TypedMapper, "mapping")


def _profiled(mapper: Any, sample: str, key: str | None = None) -> tuple[list[Any], Any]:
    """Return the first three records of a sample, and what all of them hold."""
    records = _records(sample)
    first = list(itertools.islice(records, 3))
    with _counted() as progress:
        held = mapper.profile(itertools.chain(first, records), key=key, progress=progress)
    return first, held


def _records(path: str) -> Iterator[Any]:
    """Yield the records of a JSON-lines file or a pipe, parsed as a pipeline's source does it."""
    from .connectors.files import json_lines

    try:
        with open(path, "rb") as file:
            for number, _, record in json_lines(file):
                if isinstance(record, RecordError):
                    raise ConfigurationError(
                        f"line {number} of {path} cannot be read: {record.message}",
                        remedy="Give one JSON object a line",
                    )
                yield record
    except OSError as error:
        raise ConfigurationError(
            f"{path} cannot be read ({error.strerror})", remedy="Name a file of JSON lines"
        ) from error


@contextlib.contextmanager
def _counted() -> Iterator[Callable[[int], None] | None]:
    """Show on a terminal how many records are done."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    text = TextColumn("{task.completed:.0f} records")
    columns = SpinnerColumn(), text, TimeElapsedColumn()
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=None)
        yield lambda done: bar.update(task, completed=done)


# -- A run -----------------------------------------------------------------------------


def _finished(
    run: Callable[..., RunReport],
    run_async: Callable[..., Coroutine[Any, Any, RunReport]],
    memory: StateStore,
    **options: Any,
) -> RunReport:
    """Return the report of a run, on an event loop if a part is asynchronous."""
    with contextlib.suppress(ConfigurationError):  # raised, not reported, for that only
        return run(memory, **options)
    return asyncio.run(run_async(memory, **options))


class _Stop:
    """What SIGTERM and SIGINT do: the first one stops the run, the second interrupts it."""

    def __init__(self, pipeline: Pipeline) -> None:
        self.pipeline = pipeline
        self.is_asked = False

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if self.is_asked:
            raise KeyboardInterrupt
        self.is_asked = True
        self.pipeline.stop()


@contextlib.contextmanager
def _stopping(pipeline: Pipeline) -> Iterator[_Stop]:
    """Handle signals while a run lasts, but none that this process was told to ignore (nohup)."""
    stop = _Stop(pipeline)
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    for number in [each for each, handler in before.items() if handler in (signal.SIG_IGN, None)]:
        del before[number]
    try:
        for number in before:
            signal.signal(number, stop)
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class _Progress:
    """How far a run is; its text is the line that is shown."""

    def __init__(self, stop: _Stop, *, prints: bool) -> None:
        self._stop = stop
        self._prints = prints
        self._counts: dict[str, int] = {}
        self._started = self._printed = time.monotonic()

    def __call__(self, report: RunReport) -> None:
        if self._stop.is_asked:  # again: the signal may have come before there was a run
            self._stop.pipeline.stop()
        self._counts = asdict(report.counts)
        if self._prints and time.monotonic() - self._printed >= 1.0:
            self._printed = time.monotonic()
            _note(str(self))

    def __str__(self) -> str:
        rate = self._counts.get("read", 0) / max(time.monotonic() - self._started, 0.001)
        stopping = "stopping after this batch: " if self._stop.is_asked else ""
        return f"{stopping}{_counts(self._counts)} ({rate:.0f}/s)"


@contextlib.contextmanager
def _shown(stop: _Stop) -> Iterator[_Progress]:
    """Show the progress of a run on stderr: a bar on a terminal, else a line a second."""
    progress = _Progress(stop, prints=not sys.stderr.isatty())
    if not sys.stderr.isatty():
        yield progress
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    text = TextColumn("{task.fields[progress]}", markup=False)
    columns = SpinnerColumn(), BarColumn(20), text, TimeElapsedColumn()
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        bar.add_task("", total=None, progress=progress)
        yield progress


# -- What is printed -------------------------------------------------------------------


@frozen
class Screen:
    """How a command answers: with one JSON object or text, with or without tracebacks."""

    as_json: bool
    traceback: bool

    def say(self, data: Mapping[str, Any], *lines: str) -> int:
        """Print the answer, and return the exit code of a command that has one."""
        for line in [json.dumps(data)] if self.as_json else lines:
            print(_plain(line))
        sys.stdout.flush()
        return 0

    def report(self, report: RunReport) -> int:
        """Print how a run ended, and return its exit code."""
        self.say(json.loads(report.as_json()), *str(report).splitlines())
        if report.error is not None:
            self.trace(report.error)
        return report.exit_code

    def trace(self, error: BaseException) -> None:
        """Show where an error came from, if that was asked for."""
        if self.traceback:
            traceback.print_exception(error)


def _aside() -> contextlib.redirect_stdout[Any]:
    """Send to stderr what the app prints: stdout is for the answer."""
    return contextlib.redirect_stdout(sys.stderr)


def _note(text: str) -> None:
    print(_plain(text), file=sys.stderr, flush=True)


def _complain(text: str, *more: str) -> None:
    for line in (f"error: {' '.join(text.split())}", *more):
        _note(line)


def _is_of_a_mapping(error: BaseException) -> bool:
    """Return whether an error lists what is wrong with a mapping, a line each."""
    from .mapping import MappingDefinitionError

    return isinstance(error, MappingDefinitionError)


def _plain(text: str) -> str:
    """Return one line that cannot steer a terminal, whatever a key or a name holds."""
    return "".join(
        each if each.isprintable() else each.encode("unicode_escape").decode() for each in text
    )


def _table(titles: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    """Return rows in aligned columns under their titles, or nothing for no rows."""
    from rich.cells import cell_len, set_cell_size

    cells = [list(titles), *([_plain(str(cell)) for cell in row] for row in rows)]
    widths = [max(map(cell_len, column)) for column in zip(*cells, strict=True)]
    lines = ["  ".join(map(set_cell_size, row, widths)).rstrip() for row in cells]
    return [f"  {line}" for line in lines] if len(lines) > 1 else []


def _counts(counts: Mapping[str, int]) -> str:
    names = [name for name in ("inferred", "resumed", *OUTCOMES) if counts.get(name)]
    return ", ".join(f"{counts.get(name, 0)} {name}" for name in ("read", *names))


def _when(text: str | None) -> str:
    return "-" if text is None else f"{datetime.fromisoformat(text):%Y-%m-%d %H:%M:%S} UTC"


# -- The app and its store -------------------------------------------------------------


@contextlib.contextmanager
def _opened(path: str, *, new: bool = True) -> Iterator[stores.SQLiteStore]:
    if not new and not os.path.exists(path):
        raise ConfigurationError(
            f"there is no state file {path}", remedy="Name the one that the runs were given"
        )
    with contextlib.closing(stores.SQLiteStore(path)) as store:
        yield store


def _known(store: StateStore, pipeline: str) -> str:
    names = store.pipelines()
    if pipeline not in names:
        raise ConfigurationError(
            f"no pipeline {pipeline} ever ran here",
            remedy=f"There is {', '.join(names)}" if names else "Run it first",
        )
    return pipeline


def load(target: str) -> Pipeline:
    """Return the pipeline that ``path/to/app.py:name`` or ``package.module:name`` names.

    The folder of the file, or the current one for a module, goes to the front of
    ``sys.path``, as Python does it for a script and for ``-m``.

    Raises:
        ConfigurationError: there is none, or the app raised; says where.
    """
    return loaded(target, Pipeline, "pipeline")


def loaded(target: str, kind: type[_T], what: str) -> _T:
    """Return what a target names; see :func:`load`. A function without arguments is called."""
    where, _, name = target.rpartition(":")
    if not where or not name:
        raise ConfigurationError(
            f"{target} does not name a {what}",
            remedy="Write path/to/app.py:NAME, or package.module:NAME",
        )
    module = _app(where, lambda: _imported(where))
    found = _made(target, getattr(module, name, None), kind)
    if isinstance(found, kind):
        return found
    there = [each for each, value in vars(module).items() if isinstance(value, kind)]
    state = f"is of type {type(found).__name__}" if hasattr(module, name) else "is not there"
    title = what.capitalize()
    raise ConfigurationError(
        f"{target} {state}, and not a {title}",
        remedy=f"There is {', '.join(there)}"
        if there
        else f"Name a {title}, or a function without arguments that returns one",
    )


def _made(target: str, found: Any, kind: type) -> object:
    """Return what a function without arguments makes; anything else is what it is."""
    if not callable(found) or isinstance(found, kind | type):
        return found
    return _app(f"{target}()", found)


def _imported(where: str) -> ModuleType:
    path = Path(where).resolve()
    if path.suffix != ".py" and os.sep not in where:
        sys.path.insert(0, os.getcwd())
        return importlib.import_module(where)
    # Under its own name, so that its neighbours may import it too.
    if getattr(sys.modules.get(path.stem), "__file__", None) == str(path):
        return sys.modules[path.stem]
    name = path.stem if path.stem not in sys.modules else f"_app_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None or not path.is_file():
        raise ConfigurationError(f"there is no Python file {where}", remedy="Correct the path")
    sys.path.insert(0, str(path.parent))
    sys.modules[name] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _app(what: str, call: Callable[[], Any]) -> Any:
    """Call into the app; what it raises is told with its words, its author's, and the place."""
    try:
        return call()
    except (Exception, SystemExit) as error:
        place = _place(error)
        if (isinstance(error, ConfigurationError) and not place) or _is_of_a_mapping(error):
            raise  # ours, not the app's; or it has places of its own
        words = error.msg if isinstance(error, SyntaxError) else str(error)
        raise ConfigurationError(
            f"{what} raised {type(error).__qualname__}{place}: {words.rstrip('.')}",
            remedy="Mend it; --traceback shows the way there",
        ) from error


def _place(error: BaseException) -> str:
    """Return the last place in the app, rather than in what it uses, that led to an error."""
    if isinstance(error, SyntaxError):
        return f" at {error.filename}:{error.lineno}"
    not_its = str(Path(__file__).parent), *(each for each in sys.path if "-packages" in each)
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if frame.filename.startswith(sys.path[0]) and not frame.filename.startswith(not_its):
            return f" at {frame.filename}:{frame.lineno}"
    return ""


if __name__ == "__main__":
    main()
