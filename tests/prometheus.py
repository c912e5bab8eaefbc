# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A strict reader of Prometheus' text format 0.0.4, of what a file of gauges may hold: anything else is an error."""

from __future__ import annotations

import math
import re
from typing import FrozenSet, Tuple

_NAME = "[a-zA-Z_:][a-zA-Z0-9_:]*"
_SAMPLE = re.compile(rf"({_NAME})(?:\{{(.*)\}})? (-?[0-9]+(?:\.[0-9]+)?)")
_LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\\\|\\"|\\n)*)"(,|$)')
_ESCAPES = {"\\\\": "\\", '\\"': '"', "\\n": "\n"}
Labels = FrozenSet[Tuple[str, str]]


def parse(text: str) -> dict[tuple[str, Labels], float]:
    """Return the values of samples by name and labels. Raises ValueError for what Prometheus would not take."""
    if not text.endswith("\n"):
        raise ValueError("the last line has no end")
    found: dict[tuple[str, Labels], float] = {}
    typed: dict[str, str] = {}
    current = ""
    for line in text.split("\n")[:-1]:
        if line.startswith("# HELP "):
            current = line.split(" ")[2]
            if current in typed:
                raise ValueError(f"the metric {current} comes a second time")
        elif line.startswith("# TYPE "):
            _hash, _type, name, kind = line.split(" ")
            if name != current or kind != "gauge":
                raise ValueError(f"the type of another metric: {line}")
            typed[name] = kind
        else:
            match = _SAMPLE.fullmatch(line)
            if match is None or match[1] not in typed or match[1] != current:
                raise ValueError(f"no sample of the metric {current}: {line!r}")
            key = (match[1], _labels(match[2] or ""))
            if key in found:
                raise ValueError(f"the sample comes a second time: {line}")
            found[key] = float(match[3])
            if math.isinf(found[key]):
                raise ValueError(f"a number out of range: {line[:200]}...")
    return found


def _labels(text: str) -> Labels:
    found, at = {}, 0
    while at < len(text):
        match = _LABEL.match(text, at)
        if match is None or match[1] in found:
            raise ValueError(f"labels: {text!r}")
        found[match[1]] = re.sub(r"\\.", lambda escape: _ESCAPES[escape[0]], match[2])
        at = match.end()
    return frozenset(found.items())
