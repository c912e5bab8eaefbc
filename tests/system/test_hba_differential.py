# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What this collection holds against made-up files of pg_hba.conf and pg_ident.conf is what the server does."""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import select
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.pgops.tls.plugins.module_utils.postgres import hba_grammar, hba_options, regex_syntax
from ansible_collections.pgops.tls.plugins.module_utils.verification import libpq
from ansible_collections.pgops.tls.tests import hba_files
from ansible_collections.pgops.tls.tests.shared import IS_THOROUGH

SEED = 20261121
LIBRARIES = ["one", "two"]  # of oauth_validator_libraries
VIEWS, MAPPINGS = "pg_hba_file_rules", "pg_ident_file_mappings"
_BAD = "SELECT coalesce(json_agg(json_build_array({file}, line_number)), '[]') FROM {view} WHERE {column} IS NULL"


_COMPILES = """
    CREATE FUNCTION pg_temp.compiles(pattern text) RETURNS bool LANGUAGE plpgsql AS $$
      BEGIN PERFORM '' ~ pattern COLLATE "C"; RETURN true;
      EXCEPTION WHEN invalid_regular_expression THEN RETURN false; END $$"""
_JUDGED = """
    SELECT json_agg(pg_temp.compiles(pattern) ORDER BY number)
      FROM json_array_elements_text('{}') WITH ORDINALITY AS made (pattern, number)"""


class Session:
    """One connection that stays, whatever the rules are."""

    def __init__(self, cluster: Any) -> None:
        self.library = libpq.load()
        functions = self.library.functions
        address = f"host={cluster.socket_directory} port={cluster.port} user=postgres dbname=postgres"
        self.connection = functions.PQconnectStart(address.encode())
        writing = True
        while functions.PQstatus(self.connection) != libpq.CONNECTION_OK:
            sockets = [functions.PQsocket(self.connection)]
            select.select([] if writing else sockets, sockets if writing else [], [], 10)
            state = functions.PQconnectPoll(self.connection)
            assert state != libpq.POLLING_FAILED, self.library.error(self.connection)
            writing = state == libpq.POLLING_WRITING

    def ask(self, sql: str) -> str:
        """Return the one value of a query."""
        functions = self.library.functions
        assert functions.PQsendQuery(self.connection, sql.encode()), self.library.error(self.connection)
        rows = []
        while True:
            result = functions.PQgetResult(self.connection)
            if result is None:
                break
            rows.append(self.library.row(result))
            functions.PQclear(result)
        assert not self.library.error(self.connection)
        return rows[0][0] if rows and rows[0] else ""


@dataclass
class Judge:
    """A server that is asked about files, and what was asked of it."""

    cluster: Any
    session: Session
    major: int
    lacks: Sequence[str]  # methods that its build does not have

    def write(self, name: str, text: str) -> str:
        path: Path = self.cluster.data / name
        path.write_bytes(text.encode("utf-8", "surrogateescape"))
        return str(path)

    def bad_lines(self, view: str, column: str) -> list[tuple[str, int]]:
        """Return the lines on disk of which the server makes nothing; before 16 it knows one file."""
        file = "file_name" if self.major >= 16 else "''"
        found = json.loads(self.session.ask(_BAD.format(view=view, column=column, file=file)))
        return sorted((file, line) for file, line in found)

    def reloaded(self) -> str:
        """Reload; return what the log has of it up to the first connection afterwards."""
        start = self.cluster.log_path.stat().st_size
        assert self.session.ask("SELECT pg_reload_conf()") == "t"
        for _attempt in range(200):
            # the server handles the signal before it lets this connection in, and notes that
            subprocess.run(self.client(), check=False, capture_output=True)
            told = self.cluster.log_path.read_bytes()[start:].decode("utf-8", "replace")
            if re.search(r"received SIGHUP.*connection received", told, re.DOTALL):
                return str(told)
        raise AssertionError("the server did not log the reload")

    def client(self) -> list[str]:
        return [
            str(self.cluster.programs / "pg_isready"),
            "-h",
            str(self.cluster.socket_directory),
            "-p",
            str(self.cluster.port),
        ]


@pytest.fixture(scope="module")
def judge(shared_cluster: Any) -> Iterator[Judge]:
    paths = hba_files.write_others(shared_cluster.data)
    for path in paths if os.geteuid() == 0 else []:
        shutil.chown(path, shared_cluster.account)
    session = Session(shared_cluster)
    major = int(session.ask("SHOW server_version_num")) // 10000
    if major >= 18:
        shared_cluster.append("postgresql.conf", f"oauth_validator_libraries = '{', '.join(LIBRARIES)}'\n")
    lacks = hba_options.lacking(session.ask("SELECT setting FROM pg_config() WHERE name = 'CONFIGURE'"))
    print(f"\nPostgreSQL {major} was built without {lacks}")
    judge = Judge(shared_cluster, session, major, lacks)
    judge.reloaded()
    yield judge
    with contextlib.suppress(AssertionError):
        shared_cluster.stop()


def ours(text: str, judge: Judge, path: str, *, ident: bool) -> list[hba_grammar.Problem]:
    return hba_grammar.problems(text, judge.major, ident=ident, path=path, libraries=LIBRARIES, lacks=judge.lacks)


def lines_of(problems: list[hba_grammar.Problem], path: str, major: int) -> list[tuple[str, int]]:
    """Return the lines of problems as the server names them; that there is no rule at all is in no line."""
    return sorted(((one.file or path) if major >= 16 else "", one.line) for one in problems if one.line)


def compare(judge: Judge, name: str, made: Callable[[random.Random, int], str], count: int) -> None:
    """Hold our verdict on ``count`` files against the server's, and print how many were of which kind."""
    ident, chance = name == "pg_ident.conf", random.Random(SEED)  # noqa: S311 (no secret)
    view, column = (MAPPINGS, "map_name") if ident else (VIEWS, "type")
    differences, refused = [], 0
    for _file in range(count):
        text = made(chance, judge.major)
        path = judge.write(name, text)
        found = ours(text, judge, path, ident=ident)
        expected = judge.bad_lines(view, column)
        refused += bool(found)
        if lines_of(found, path, judge.major) != expected:
            differences.append(_difference(text, set(lines_of(found, path, judge.major)), set(expected)))
    print(f"\nPostgreSQL {judge.major}, {name}: {count} files, {refused} refused, {len(differences)} disagreements")
    assert not differences, "\n".join(differences[:3])
    # a build that lacks methods refuses more
    assert count * 0.2 < refused < count * (0.9 if judge.lacks else 0.8), "a set of files that says little"


def compare_by_reload(judge: Judge, name: str, made: Callable[[random.Random, int], str], count: int) -> None:
    """Have the server load files for good, and hold its verdict, and the lines that it logs, against ours."""
    ident, chance = name == "pg_ident.conf", random.Random(SEED + 1)  # noqa: S311 (no secret)
    differences, refused = [], 0
    for _file in range(count):
        text = made(chance, judge.major)
        path = judge.write(name, text)
        found = ours(text, judge, path, ident=ident)
        told = judge.reloaded()
        is_refused = re.search(rf"{re.escape(name)}\"? was not reloaded", told) is not None
        # a directory that is named as a file is worth a message to the server, and is an empty file
        named = _lines_told(told, r"(?!could not read file)", path)
        named -= _lines_told(told, "skipping missing authentication file", path)  # from 19 on with its line
        refused += is_refused
        # of a hostssl rule while ssl is off the log has a line, too, and from a file that is included none of this one
        if bool(found) != is_refused or (ident and not named <= {one.line for one in found}):
            differences.append(_difference(text, {(one.file, one.line) for one in found}, told))
    print(f"\nPostgreSQL {judge.major}, {name}: {count} reloads, {refused} refused, {len(differences)} disagreements")
    assert not differences, "\n".join(differences[:3])


def _lines_told(told: str, message: str, path: str) -> set[int]:
    """Return the lines of a file that the log names behind messages that begin so."""
    context = rf"CONTEXT:  line (\d+) of configuration file \"{re.escape(path)}\""
    return {int(line) for line in re.findall(rf"LOG:  {message}.*\n{context}", told)}


def test_regular_expressions_are_refused_that_the_server_does_not_compile(judge: Judge) -> None:
    chance, count = random.Random(SEED), 20000 if IS_THOROUGH else 2000  # noqa: S311 (no secret)
    patterns = [hba_files.expression(chance) for _pattern in range(count)]
    judge.session.ask(_COMPILES)
    compiled = json.loads(judge.session.ask(_JUDGED.format(json.dumps(patterns).replace("'", "''"))))
    wrong = [one for one, right in zip(patterns, compiled) if right is not (regex_syntax.fault(one, judge.major) == "")]
    print(
        f"\nPostgreSQL {judge.major}: {count} expressions, {compiled.count(False)} refused, {len(wrong)} disagreements"
    )
    assert not wrong, wrong[:10]


def _difference(text: str, found: set[tuple[str, int]], told: set[tuple[str, int]] | str) -> str:
    only = (found - told, told - found) if isinstance(told, set) else (found, told)
    return f"{text!r}\n  ours: {only[0]}\n  the server's: {only[1]}"


def test_rules_are_refused_where_the_server_refuses_them(judge: Judge) -> None:
    compare(judge, "pg_hba.conf", hba_files.hba_file, 5000 if IS_THOROUGH else 1500)


def test_rules_are_loaded_when_the_server_loads_them(judge: Judge) -> None:
    compare_by_reload(judge, "pg_hba.conf", hba_files.hba_file, 500 if IS_THOROUGH else 50)


def test_mappings_are_refused_where_the_server_refuses_them(judge: Judge) -> None:
    if judge.major < 15:  # whose mappings no view shows
        compare_by_reload(judge, "pg_ident.conf", hba_files.ident_file, 1000 if IS_THOROUGH else 100)
        return
    compare(judge, "pg_ident.conf", hba_files.ident_file, 1000 if IS_THOROUGH else 100)
    compare_by_reload(judge, "pg_ident.conf", hba_files.ident_file, 200 if IS_THOROUGH else 20)
