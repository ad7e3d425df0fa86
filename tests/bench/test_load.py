"""What is read out of wrk's own words."""

from __future__ import annotations

from tests.bench.load import Answers

SUMMARY = (
    "Running 10s test\n\n"
    'JSON{"requests":%d,"status":%d,"connect":1,"read":2,"write":3,"timeout":4,"slowest_ms":%.1f,"seconds":2.000}\n'
)


def test_every_kind_of_failure_counts_and_several_loads_are_summed() -> None:
    answers = Answers()
    answers.take(SUMMARY % (1000, 5, 7.5))
    answers.take(SUMMARY % (200, 0, 3.0))

    assert (answers.requests, answers.failed, answers.slowest_ms) == (1200, 25, 7.5)
    assert answers.per_second == 600
