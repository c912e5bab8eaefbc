# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Durations: a positive number of seconds, or a message."""

from __future__ import annotations

import re

from ansible_collections.pgops.tls.plugins.module_utils.core import durations
from ansible_collections.pgops.tls.tests.properties import attempt
from hypothesis import example, given
from hypothesis import strategies as st


@given(st.text() | st.text(st.sampled_from("0189mhdwy \u0661-.e")) | st.integers() | st.none() | st.floats())
@example("9" * 5000 + "d")
@example("0d")
@example("\u0661d")
def test_any_value_is_a_positive_duration_or_is_refused(value: object) -> None:
    found, message = attempt(durations.seconds, value, "renew_before")
    assert message.startswith("renew_before: ") if message else found > 0
    assert bool(message) != bool(re.fullmatch("0*[1-9][0-9]*[mhdwy]", str(value)) and len(str(value)) <= 10)


@given(st.integers(1, 999_999_999), st.sampled_from(list(durations.UNITS)))
def test_what_is_written_is_counted_exactly(number: int, unit: str) -> None:
    assert durations.seconds(f"{number}{unit}", "renew_before") == number * durations.UNITS[unit]


@given(st.integers(-(10**12), 10**12))
def test_any_span_can_be_said_in_words_and_loses_less_than_a_day(span: int) -> None:
    found = re.fullmatch("(-?)([0-9]+)([dhm])", durations.in_words(span))
    assert found
    assert abs(abs(span) - int(found[2]) * durations.UNITS[found[3]]) < 86400
