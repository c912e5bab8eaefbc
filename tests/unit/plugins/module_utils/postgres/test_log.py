# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the server's log tells of a refused reload."""

from __future__ import annotations

from pathlib import Path

from ansible_collections.pgops.tls.plugins.module_utils.postgres import log
from ansible_collections.pgops.tls.plugins.module_utils.postgres.state import ServerState, Setting

LINES = [
    "LOG:  received SIGHUP, reloading configuration files",
    'LOG:  parameter "ssl_cert_file" changed to "/etc/x"',
    'LOG:  could not load server certificate file "/etc/x": No such file or directory',
    "LOG:  SSL configuration was not reloaded",
    "LOG:  connection received: host=127.0.0.1 port=1",
]


def test_the_reason_and_the_verdict_are_kept_and_the_rest_left_out() -> None:
    assert log.refusals(LINES, log.TLS_VERDICTS) == LINES[2:4]


def test_a_reload_that_worked_has_no_refusal() -> None:
    assert log.refusals([*LINES[:2], LINES[4]], log.TLS_VERDICTS) == []


def test_only_what_was_written_since_is_read(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text("before\n")
    start = log.Position(str(path), path.stat().st_size)
    with path.open("a") as stream:
        stream.write("after\n")
    assert log.since(start) == ["after"]
    path.unlink()
    assert log.since(start) == []
    assert log.since(log.Position(None, 0)) == []


def test_a_log_that_was_truncated_or_rotated_is_read_on(tmp_path: Path) -> None:
    path, new = tmp_path / "log", tmp_path / "log.new"
    path.write_text("much was written before\n")
    start = log.Position(str(path), path.stat().st_size)
    path.write_text("after\n")
    assert log.since(start) == ["after"]
    new.write_text("newer\n")
    assert log.since(start, str(new)) == ["after", "newer"]
    assert log.since(start, str(path)) == ["after"]


def test_what_stands_before_the_mark_is_told_once_it_is_there() -> None:
    assert log.until(["a", "b"], "mark") is None
    assert log.until(["a", "statement: 'mark'", "b"], "mark") == ["a"]


def test_rules_and_tls_have_their_own_verdicts() -> None:
    lines = ["received SIGHUP, reloading", "invalid connection type", "LOG:  pg_hba.conf was not reloaded"]
    assert log.refusals(lines, log.TLS_VERDICTS) == []
    rules = log.rules_verdicts(server("/etc/pg_hba.conf"))
    assert log.refusals(lines, rules) == lines[1:]
    waits = 'LOG:  configuration file "x" contains errors; unaffected changes were applied'
    assert log.refusals([waits], (*log.TLS_VERDICTS, *rules)) == []


def test_rules_in_a_file_of_another_name_are_refused_by_its_path() -> None:
    lines = ["received SIGHUP, reloading", "invalid connection type", "LOG:  /etc/rules.conf was not reloaded"]
    maps = ["received SIGHUP, reloading", "missing entry", "LOG:  /etc/people.conf was not reloaded"]
    state = server("/etc/rules.conf")
    assert log.refusals(lines, log.rules_verdicts(state)) == lines[1:]
    assert log.refusals(maps, log.rules_verdicts(state)) == maps[1:]
    assert log.refusals(maps, log.rules_verdicts(state, has_maps=False)) == []
    assert log.refusals([*lines[:2], "LOG:  pg_hba.conf was not reloaded"], log.rules_verdicts(state)) != []


def server(hba_file: str) -> ServerState:
    """Return the state of a server whose rules are in ``hba_file``, and whose maps are in people.conf."""
    values = {"hba_file": hba_file, "ident_file": "/etc/people.conf"}
    settings = {
        name: Setting(value, "string", None, "postmaster", "override", None, None) for name, value in values.items()
    }
    return ServerState(160000, settings, None, [], [], [], [])


def test_lines_of_sessions_are_left_out() -> None:
    main = "[7] LOG:  "
    lines = [
        "[7] LOG:  received SIGHUP, reloading",
        "[8] LOG:  statement: ALTER ROLE x PASSWORD 'sesame'",
        f"{main}could not load server certificate file",
        "\tPASSWORD 'sesame'",
        "[9] ERROR:  anything",
        f"{main}SSL configuration was not reloaded",
    ]
    assert log.refusals(lines, log.TLS_VERDICTS) == [lines[2], lines[5]]
    bare = [line.partition("] ")[2] or line for line in lines if "ERROR" not in line]
    assert log.refusals(bare, log.TLS_VERDICTS) == [bare[2], bare[4]]


def test_lines_of_the_main_process_are_told_from_others_in_any_language() -> None:
    own = [
        "2026-11-30 10:00:00.000 UTC [7] LOG:  SIGHUP empfangen, Konfigurationsdateien werden neu geladen",
        '2026-11-30 10:00:00.000 UTC,,,7,,6a0b.1,3,,2026-11-30 09:00:00 UTC,,0,LOG,00000,"SIGHUP empfangen",,',
        '{"timestamp":"2026-11-30 10:00:00.000 UTC","pid":7,"message":"SIGHUP empfangen"}',
    ]
    others = [
        "2026-11-30 10:00:00.000 UTC [8] app@shop LOG:  Anweisung: SELECT '[7]'",
        '2026-11-30 10:00:00.000 UTC,"app","shop",7,"[local]",6a0b.1,1,"SELECT",,,0,LOG,00000,"ein ,,,7, darin"',
        '{"timestamp":"2026-11-30 10:00:00.000 UTC","user":"app","pid":7,"message":"x"}',
        "LOG:  [no process in this one]",
        "2026-11-30 10:00:00.000 UTC app@shop LOG:  Anweisung: UPDATE t SET a[7]='geheim'",
        "2026-11-30 10:00:00.000 UTC [7] LOG:  Parameter »primary_conninfo« auf »password=geheim« gesetzt",
        "2026-11-30 10:00:00.000 UTC [7] LOG:  Parameter »ssl_passphrase_command« auf »echo geheim« gesetzt",
        "\tan explanation",
    ]
    assert log.by_process([*others, *own, *others], 7) == own
