# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which runs count as runs without a failure, and where that is noted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible_collections.pgops.tls.plugins.module_utils.core import clock
from ansible_collections.pgops.tls.plugins.module_utils.report import facts, last_run, page, writing
from ansible_collections.pgops.tls.plugins.plugin_utils import last_run as noting
from ansible_collections.pgops.tls.plugins.plugin_utils.last_run import Run
from ansible_collections.pgops.tls.tests.servers import TODAY

HOSTS = ["db1", "pool1", "app1"]
GROUPS = {"all": HOSTS, "postgres_servers": ["db1"], "postgres_poolers": ["pool1"], "postgres_clients": ["app1"]}
NOTHING = facts.Learned({}, {}, {}, [])


def ended(**changes: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return what a run leaves that has converged every host."""
    done = {"changed": False}
    found: dict[str, dict[str, Any]] = {
        "db1": {"postgres_server_converged": done},
        "pool1": {"postgres_pooler_converged": done},
        "app1": {"postgres_client_converged": done},
    }
    return {host: {**one, **changes.get(host, {})} for host, one in found.items()}


def test_a_run_that_has_converged_every_host_is_sound() -> None:
    assert noting.is_sound(ended(), GROUPS, Run(HOSTS, HOSTS))


@pytest.mark.parametrize(
    "changes",
    [
        {"db1": {"postgres_server_failed": "No server."}},
        {"db1": {"postgres_server_patroni_failed": "The REST API is silent."}},
        {"app1": {"postgres_verify_failed": "1 connection was not as expected."}},
        {"pool1": {"postgres_pooler_converged": {"unreachable": True, "msg": "no route to host"}}},
        {"app1": {"postgres_client_converged": {}}},  # --tags left it out
    ],
)
def test_a_host_that_failed_or_was_left_out_is_no_success(changes: dict[str, Any]) -> None:
    assert not noting.is_sound(ended(**changes), GROUPS, Run(HOSTS, HOSTS))


def test_neither_is_a_run_for_some_hosts_or_one_that_lost_a_host_in_a_task_outside_of_the_roles() -> None:
    assert not noting.is_sound(ended(), GROUPS, Run(HOSTS[:2], HOSTS[:2]))
    assert not noting.is_sound(ended(), GROUPS, Run(HOSTS, HOSTS[1:]))
    assert not noting.is_sound({}, {"all": []}, Run([], []))


def test_a_run_is_noted_where_there_is_a_report_and_nowhere_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    inventory = tmp_path / "inventory.yml"
    inventory.touch()
    variables: dict[str, Any] = {"inventory_dir": str(tmp_path), "ansible_inventory_sources": [str(inventory)]}
    beside, elsewhere = tmp_path / "postgres-report", tmp_path / "elsewhere"
    assert noting.note("", variables, TODAY) == []
    assert not beside.exists()
    beside.mkdir()
    assert noting.note("", variables, TODAY) == []
    assert list(beside.iterdir()) == [], "nobody has made a report"
    for directory, given in ((beside, ""), (elsewhere, "~/elsewhere")):
        writing.write(str(directory), NOTHING, TODAY, is_dry=False)
        assert noting.note(given, variables, TODAY) == []
        assert last_run.read(str(directory)) == clock.instant(TODAY)
    alone = {"ansible_inventory_sources": ["h,"]}
    assert noting.note("", alone, TODAY) == [], "beside no inventory there is no report"


def test_a_note_that_cannot_be_written_is_told_and_the_report_keeps_the_last_one(tmp_path: Path) -> None:
    writing.write(str(tmp_path), NOTHING, TODAY, is_dry=False)
    (tmp_path / last_run.NAME).mkdir()
    [line] = noting.note(str(tmp_path), {}, TODAY)
    assert f"{tmp_path}/last-run.json could not be written (Is a directory)" in line
    assert last_run.read(str(tmp_path)) is None


def test_the_report_says_when_it_was(tmp_path: Path) -> None:
    first = writing.write(str(tmp_path), NOTHING, TODAY, is_dry=False)
    assert first["last_successful_run"] is None
    assert "Last run of pgops.tls.site without a failure: none since the first report." in page.text(first)
    assert "last_successful_run" not in (tmp_path / "report.prom").read_text()
    last_run.note(str(tmp_path), TODAY + 60)
    then = writing.write(str(tmp_path), NOTHING, TODAY + 90, is_dry=False)
    assert f"without a failure: {clock.instant(TODAY + 60)}." in page.text(then)
    assert f"pgops_tls_last_successful_run_timestamp_seconds {TODAY + 60}\n" in (tmp_path / "report.prom").read_text()
    assert (tmp_path / last_run.NAME).stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize(
    "content", ["", "{", "[]", "null", "{}", '{"ended_without_failure": "<b>"}', '{"ended_without_failure": 1}']
)
def test_a_note_that_cannot_be_read_is_none(tmp_path: Path, content: str) -> None:
    (tmp_path / last_run.NAME).write_text(content)
    assert last_run.read(str(tmp_path)) is None
