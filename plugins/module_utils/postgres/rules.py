# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a server holds against pg_hba.conf and pg_ident.conf as they are on disk, whether it has loaded them or not."""

from __future__ import annotations

import os
from typing import NamedTuple

from ansible_collections.pgops.tls.plugins.module_utils.core import files
from ansible_collections.pgops.tls.plugins.module_utils.postgres import hba
from ansible_collections.pgops.tls.plugins.module_utils.postgres.psql import Administrator
from ansible_collections.pgops.tls.plugins.module_utils.postgres.state import ServerState

# A line for which the server loads nothing of the file is one that it could make nothing of: all columns are NULL, and
# for a bad clientcert= or clientname= so is the error. A line with an error and a type is loaded: while ssl is off,
# every rule of type hostssl has one ("cannot match").
_BAD = """
    SELECT coalesce(json_agg(found), '[]') FROM (
      SELECT 'pg_hba.conf' AS name, {hba_file} AS file, line_number AS line, error
        FROM pg_hba_file_rules WHERE type IS NULL
      {maps}) AS found"""
_BAD_MAPS = """UNION ALL
      SELECT 'pg_ident.conf', {ident_file}, line_number, error
        FROM pg_ident_file_mappings WHERE map_name IS NULL"""
_UNSAID = "the server refuses this line, mostly for its clientcert= or clientname= value"


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


def faults(administrator: Administrator, state: ServerState) -> list[Fault]:
    """Return what the server holds against its rules on disk; versions before 15 cannot tell of pg_ident.conf.

    Raises TlsError, OSError.
    """
    # from 16 on files can include others, and each row names its own
    names = ("hba_file", "ident_file")
    columns = {name: "file_name" if state.major >= 16 else f"current_setting('{name}')" for name in names}
    # a server does without pg_ident.conf, its view does not
    maps = _BAD_MAPS.format(**columns) if state.major >= 15 and os.path.exists(state.value("ident_file")) else ""
    rows = administrator.query(_BAD.format(maps=maps, **columns))
    texts = {path: _lines(path) for path in sorted({row["file"] for row in rows})}
    return [_fault(row["name"], row["file"], row["line"], row["error"], texts[row["file"]]) for row in rows]


def _fault(name: str, file: str, line: int, error: str | None, lines: dict[int, str]) -> Fault:
    text, told = lines.get(line, ""), error or _UNSAID
    if hba.secrets(text):  # the server repeats words that it cannot make anything of, perhaps a part of a password
        told = told.partition(":")[0].partition('"')[0].strip()
    return Fault(name, file, line, text, told)


def _lines(path: str) -> dict[int, str]:
    content = files.read(path) or b""
    return {line.number: line.text for line in hba.read(content.decode("utf-8", "surrogateescape"))}
