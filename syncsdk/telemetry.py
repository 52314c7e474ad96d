"""Every span, metric, log event and attribute name, in one table each.

Decides what an operator sees. One span a run, and one for each read, write and
checkpoint of a batch; never one a record, never a value, key or cursor. Only the
OpenTelemetry API is used, and only once a run starts: without an SDK all of it is a
no-op. Log events go to the standard library's logger ``syncsdk``, which has no handler of
its own.

======================================  ==============  ===============================
span                                    kind            attributes
======================================  ==============  ===============================
``sync {pipeline}``                     INTERNAL        pipeline.name, pipeline.owner,
                                                        run.id, run.mode; at the end
                                                        run.result, records.*, error.type
``read {pipeline}``                     INTERNAL        pipeline.name, batch.size
``write {pipeline}``                    INTERNAL        pipeline.name, batch.size,
                                                        error.type
``checkpoint {pipeline}``               INTERNAL        pipeline.name, error.type
======================================  ==============  ===============================

==========================================  ====================  ======================
metric                                      instrument, unit      attributes
==========================================  ====================  ======================
``syncsdk.run.duration``                    histogram, s          pipeline.name,
                                                                  run.result, run.mode,
                                                                  error.type
``syncsdk.sink.records``                    counter, {record}     pipeline.name,
                                                                  record.outcome
``syncsdk.mapping.decisions``               counter, {decision}   pipeline.name,
                                                                  mapping.field,
                                                                  mapping.decision
``syncsdk.pipeline.last_success.timestamp`` observable gauge, s   pipeline.name
``syncsdk.dead_letter.count``               observable up-down    pipeline.name
                                            counter, {record}
==========================================  ====================  ======================

All attribute names but ``error.type`` carry the prefix ``syncsdk.``. The values of
``syncsdk.record.outcome`` are the words of the conservation law, those of
``syncsdk.run.result`` the results of a run, those of ``syncsdk.mapping.decision`` what a
declared mapping counts: ``cut``, ``defaulted``, ``fallback``, ``several``, ``left``,
``nulled``.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from attrs import define

from .protocols import OUTCOMES, Counts, Result, RunReport

if TYPE_CHECKING:
    from opentelemetry.metrics import CallbackOptions, Counter, Histogram, Observation
    from opentelemetry.trace import Span, Tracer

__all__ = ["Telemetry", "error_type"]

logger: Final = logging.getLogger("syncsdk")
logger.addHandler(logging.NullHandler())

_DURATIONS: Final = (1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 1800.0, 3600.0, 7200.0, 14400.0)
_SAMPLE: Final = 5
"""How many refused records of a run are logged one by one."""

_last_success: dict[str, float] = {}
_open_letters: dict[str, int] = {}


@define
class _Instruments:
    tracer: Tracer
    duration: Histogram
    records: Counter
    decisions: Counter


@functools.cache
def _instruments() -> _Instruments:
    # OpenTelemetry is imported here, not above: `import syncsdk` must cost next to nothing.
    from opentelemetry import metrics, trace

    from . import __version__

    meter = metrics.get_meter("syncsdk", __version__)

    def observe(values: dict[str, Any]) -> Any:
        def callback(options: CallbackOptions) -> Iterable[Observation]:
            return [
                metrics.Observation(value, {"syncsdk.pipeline.name": name})
                for name, value in list(values.items())
            ]

        return callback

    meter.create_observable_gauge(
        "syncsdk.pipeline.last_success.timestamp",
        [observe(_last_success)],
        unit="s",
        description="When the pipeline's last run ended as success, in seconds since 1970.",
    )
    meter.create_observable_up_down_counter(
        "syncsdk.dead_letter.count",
        [observe(_open_letters)],
        unit="{record}",
        description="Open dead letters of the pipeline.",
    )
    return _Instruments(
        trace.get_tracer("syncsdk", __version__),
        meter.create_histogram(
            "syncsdk.run.duration",
            unit="s",
            description="How long a run took.",
            explicit_bucket_boundaries_advisory=_DURATIONS,
        ),
        meter.create_counter(
            "syncsdk.sink.records",
            unit="{record}",
            description="Records by what became of them.",
        ),
        meter.create_counter(
            "syncsdk.mapping.decisions",
            unit="{decision}",
            description="Values that the mapping cut, defaulted and so on.",
        ),
    )


def error_type(error: BaseException) -> str:
    """Return the value of ``error.type`` for an exception: its class's name."""
    return type(error).__qualname__


class Telemetry:
    """What one run tells the outside.

    Args:
        report: the run's report, kept up to date by the engine.
    """

    def __init__(self, report: RunReport) -> None:
        self._report = report
        self._name = report.pipeline
        self._logged = 0

    @contextmanager
    def run(self) -> Iterator[None]:
        """The span of the whole run. Its end is told by :meth:`finished`."""
        report = self._report
        with _instruments().tracer.start_as_current_span(
            f"sync {self._name}",
            attributes={
                "syncsdk.pipeline.name": self._name,
                "syncsdk.pipeline.owner": report.owner,
                "syncsdk.run.id": report.run_id,
                "syncsdk.run.mode": report.mode,
            },
            record_exception=False,
            set_status_on_exception=False,
        ) as self._span:
            for outcome in OUTCOMES:
                self._count(outcome, 0)
            self._log(logging.INFO, "run.started", "run started")
            yield

    @contextmanager
    def operation(self, verb: str, size: int | None = None) -> Iterator[Span]:
        """The span of one read, write or checkpoint.

        What it raises is told as an error, without the exception's words.
        """
        attributes: dict[str, Any] = {"syncsdk.pipeline.name": self._name}
        if size is not None:
            attributes["syncsdk.batch.size"] = size
        with _instruments().tracer.start_as_current_span(
            f"{verb} {self._name}",
            attributes=attributes,
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            try:
                yield span
            except Exception as error:
                _mark(span, error_type(error))
                raise

    def settled(
        self,
        counts: Counts,
        reasons: dict[str, int],
        decisions: dict[tuple[str, str], int],
    ) -> None:
        """Count what became of the records of a commit, and what the mapping decided."""
        for outcome in OUTCOMES:
            number = getattr(counts, outcome)
            if number > 0:
                self._count(outcome, number)
        for (name, decision), number in decisions.items():
            attributes = {
                "syncsdk.pipeline.name": self._name,
                "syncsdk.mapping.field": name,
                "syncsdk.mapping.decision": decision,
            }
            _instruments().decisions.add(number, attributes)
        for reason, number in reasons.items():
            if self._logged < _SAMPLE:
                self._logged += 1
                self._log(
                    logging.WARNING,
                    "record.dead_lettered",
                    f"{number} records refused: {reason}",
                )
        self._log(logging.DEBUG, "checkpoint.committed", "checkpoint committed")

    def _count(self, outcome: str, number: int) -> None:
        _instruments().records.add(
            number, {"syncsdk.pipeline.name": self._name, "syncsdk.record.outcome": outcome}
        )

    def observer_failed(self, error: Exception) -> None:
        """Tell that somebody who watches the run raised an error."""
        what = f"an observer raised {error_type(error)}"
        self._log(logging.ERROR, "observer.failed", what)

    def finished(self, seconds: float, letters: int | None) -> None:
        """Tell how the run ended.

        Args:
            seconds: how long it took.
            letters: the open dead letters, if they were counted.
        """
        report = self._report
        attributes = {
            "syncsdk.pipeline.name": self._name,
            "syncsdk.run.result": report.result.value,
            "syncsdk.run.mode": report.mode,
        }
        failed = report.result is Result.FAILED
        if failed and report.error is not None:
            attributes["error.type"] = error_type(report.error)
        _instruments().duration.record(seconds, attributes)
        self._span.set_attribute("syncsdk.run.result", report.result.value)
        for name in ("read", *OUTCOMES):
            self._span.set_attribute(f"syncsdk.records.{name}", getattr(report.counts, name))
        if failed:
            _mark(self._span, attributes.get("error.type", "_OTHER"))
        fresh = report.mode in ("incremental", "backfill")
        if report.result is Result.SUCCESS and report.finished_at is not None and fresh:
            _last_success[self._name] = report.finished_at.timestamp()
        if letters is not None:
            _open_letters[self._name] = letters
        if failed:
            self._log(logging.ERROR, "run.failed", f"run failed: {report.reason}")
        else:
            self._log(logging.INFO, "run.finished", f"run ended: {report.result}")

    def _log(self, level: int, event: str, message: str) -> None:
        if logger.isEnabledFor(level):
            report = self._report
            extra = {
                "otel.event.name": f"syncsdk.{event}",
                "syncsdk.pipeline.name": self._name,
                "syncsdk.run.id": report.run_id,
                "syncsdk.run.result": report.result.value,
            }
            logger.log(level, "%s: %s", self._name, message, extra=extra)


def _mark(span: Span, error: str) -> None:
    from opentelemetry.trace import StatusCode

    span.set_attribute("error.type", error)
    span.set_status(StatusCode.ERROR)
