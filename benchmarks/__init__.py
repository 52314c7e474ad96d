"""What syncsdk costs, beside the same work written by hand: ``python -m benchmarks``.

Every number is a ratio of two runs that alternate within one minute on one machine: the
contender's seconds over the floor's. The floor (``by_hand.py``) is what a good engineer
would write without us, and keeps no state. Both end with the same rows, or the benchmark
fails. A time alone means nothing here, and none is printed.

Read ``harness``, then the job: ``server`` (where records come from), ``by_hand``,
``contender``, ``worker`` (one process of either), and the ``bench_*`` modules. A new
benchmark NAME is a new module ``bench_NAME`` with ``run(quick)``. ``bench_mapping`` and
``bench_http`` have contenders of their own, in the modules that begin like them; there a
floor may be a unit, such as a microsecond.
"""
