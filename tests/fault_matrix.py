# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every fault at every point of a change, and the table of what was tried and survived.

With ALL_FAULTS=1 in the environment each point is tried, else a sample.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import pytest
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.tests import faults
from ansible_collections.pgops.tls.tests.faults import Fault, Injection
from ansible_collections.pgops.tls.tests.shared import IS_THOROUGH

SAMPLE_STEP = 211  # points from one that is tried to the next, if not all are
TOLD = 5  # failures of a row that are told in full


class Subject(Protocol):
    """What is changed: it can be put back to what was before, and says what a fault has left of it."""

    def change(self) -> object:
        """Do what is to be interrupted."""

    def check(self, fault: Fault, tried: int, /) -> None:
        """Raise AssertionError unless the old or new state is there whole, and the next run ends in the new one."""

    def reset(self) -> None:
        """Put back what was before the change."""


@dataclass
class Row:
    """One fault in one change: how many points the change has, at how many it was tried, and survived."""

    transaction: str
    change: str
    fault: str
    points: int
    tried: int = 0
    survived: int = 0


TABLE: list[Row] = []


def try_all(
    subject: Subject, transaction: str, change: str, kinds: Sequence[Fault] = faults.FAULTS, sample: int = SAMPLE_STEP
) -> None:
    """Let a change come to grief in every way at one point after the other; raise AssertionError for what is lost."""
    with faults.injected(faults.NONE, -1) as undisturbed:
        subject.change()
    subject.reset()
    rows = [(fault, Row(transaction, change, fault.name, undisturbed.of(fault.kinds))) for fault in kinds]
    every = 1 if IS_THOROUGH else sample
    failures = [failure for fault, row in rows if row.points for failure in _try(subject, fault, row, every)]
    assert not failures, "\n".join(failures[:TOLD])


def _try(subject: Subject, fault: Fault, row: Row, every: int) -> Iterator[str]:
    TABLE.append(row)
    step = min(every, row.points)
    first = sum(map(ord, row.change + fault.name)) % step  # so that the samples differ
    for number in range(first, row.points, step):
        try:
            if not _strike(subject, fault, number):
                continue  # it waited less often for the server than the undisturbed one
            row.tried += 1
            subject.check(fault, row.tried - 1)
        except Exception as error:  # noqa: BLE001 (the table tells of it, and the other points have their turn)
            yield f"{row.transaction}, {row.change}, {fault.name}, point {number}: {type(error).__name__}: {error}"
        else:
            row.survived += 1
        subject.reset()
    if not row.tried:
        yield f"{row.transaction}, {row.change}, {fault.name}: nothing was injected, so nothing is shown"


def _strike(subject: Subject, fault: Fault, number: int) -> Injection:
    """Make the change with a fault at a point. A failure that the user would be told is none of the product's."""
    if fault.is_death:
        return faults.killed(number, subject.change)
    with faults.injected(fault, number) as injection, contextlib.suppress(TlsError):
        subject.change()
    return injection


def print_table(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the table."""
    if not TABLE:
        return
    terminalreporter.section("faults injected")
    rows: list[tuple[Any, ...]] = [(row.transaction, row.change, row.fault, *_numbers([row])) for row in TABLE]
    rows.append(("all", "", "", *_numbers(TABLE)))
    form = "{:<14} {:<28} {:<24} {:>6} {:>6} {:>8}"
    for row in [("TRANSACTION", "CHANGE", "FAULT", "POINTS", "TRIED", "SURVIVED"), *rows]:
        terminalreporter.write_line(form.format(*row))


def _numbers(rows: Sequence[Row]) -> tuple[int, int, int]:
    return sum(row.points for row in rows), sum(row.tried for row in rows), sum(row.survived for row in rows)
