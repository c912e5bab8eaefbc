# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a server refuses in pg_hba.conf and pg_ident.conf as they are on disk, whether it has loaded them or not."""

from __future__ import annotations

from typing import Any, Iterable, Mapping, NamedTuple

from ansible_collections.pgops.tls.plugins.module_utils.core import files
from ansible_collections.pgops.tls.plugins.module_utils.postgres import lexer, redaction

_UNSAID = "the server refuses this line, most likely because of its clientcert= or clientname= value"


class Fault(NamedTuple):
    """A line that keeps the server from loading a file.

    ``name`` is pg_hba.conf or pg_ident.conf, ``file`` the path of it or of what it includes, ``text`` the line ('' when
    the file cannot be read here), which may hold passwords, ``error`` what the server says, which holds none.
    """

    name: str
    file: str
    line: int
    text: str
    error: str

    def __str__(self) -> str:
        """Return the fault for messages."""
        return f"{self.file} line {self.line}: {self.error}"


def faults(rows: Iterable[Mapping[str, Any]], major: int) -> list[Fault]:
    """Return what the server refuses in its rules on disk, from the rows that it reports: ``state.bad_lines``.

    Versions before 15 do not report on pg_ident.conf.
    """
    found = list(rows)
    texts = {path: _lines(path, major) for path in sorted({row["file"] for row in found})}
    return [_fault(row["name"], row["file"], row["line"], row["error"], texts[row["file"]]) for row in found]


def _fault(name: str, file: str, line: int, error: str | None, lines: dict[int, str]) -> Fault:
    text, reason = lines.get(line, ""), error or _UNSAID
    if not text or redaction.secrets(
        text
    ):  # the server repeats words that it cannot make anything of, perhaps a part of a password
        reason = reason.partition(":")[0].partition('"')[0].strip()
    return Fault(name, file, line, text, reason)


def _lines(path: str, major: int) -> dict[int, str]:
    try:
        text = files.text(path) or ""
    except OSError:
        return {}
    return {line.number: line.text for line in lexer.read(text, major)}
