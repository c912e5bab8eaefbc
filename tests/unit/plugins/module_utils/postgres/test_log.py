# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the server's log tells of a refused reload."""

from __future__ import annotations

from pathlib import Path

from ansible_collections.pgops.tls.plugins.module_utils.postgres import log

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
