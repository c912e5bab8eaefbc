# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Variables that are almost, but not quite, one of a role: Ansible would ignore them in silence."""

from __future__ import annotations

import difflib
from typing import Iterable, Iterator, Sequence

_ALIKE = 0.94  # of difflib: a letter or two


def problems(names: Iterable[str], known: Sequence[str], prefixes: tuple[str, ...]) -> Iterator[str]:
    """Return a sentence for each name with one of the ``prefixes`` that is almost a known one."""
    for name in names:
        if name.startswith(prefixes) and name not in known:
            for meant in difflib.get_close_matches(name, known, n=1, cutoff=_ALIKE):
                yield f"{name}: there is no such variable. Write {meant}, or give a variable of your own another name."
