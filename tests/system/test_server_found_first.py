# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What others left broken in the server's files is named before anything changes, and by check mode as by the run."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.core.journal import Journal
from ansible_collections.pgops.tls.plugins.module_utils.server import transaction
from ansible_collections.pgops.tls.tests.servers import HBA, Server

OTHER_RULES = {"hba": "# another\n" + HBA}
BROKEN_LINES = [
    ("nonsense", 'invalid connection type "nonsense"'),
    ("hostssl all app all no-such-method", 'invalid authentication method "no-such-method"'),
    ("host all all 10.0.0.0/99 md5", 'invalid CIDR mask in address "10.0.0.0/99"'),
    (
        "hostssl all all all md5 clientcert=sometimes",
        "the server refuses this line, most likely because of its clientcert=",
    ),
    ("hostssl all all all ldap ldapbindpasswd=my sesame", "authentication option not in name=value format"),
]


def refused(server: Server, message: str, **changes: Any) -> None:
    """Check that both check mode and a run stop with the message, and that nothing was changed or reloaded."""
    disk, signals = server.disk(), server.cluster.log().count("SIGHUP")
    told = []
    for check_mode in (True, False):
        with pytest.raises(TlsError) as failure:
            server.converge(check_mode=check_mode, **changes)
        assert message in failure.value.message
        assert not {"changed", "rolled_back"} & set(failure.value.details)
        told.append(failure.value.as_result())
    assert told[0] == told[1]
    assert "sesame" not in str(told)
    assert server.disk() == disk
    assert server.cluster.log().count("SIGHUP") == signals


def major(server: Server) -> int:
    return int(server.cluster.psql("SHOW server_version_num")) // 10000


@pytest.mark.parametrize(("line", "error"), BROKEN_LINES)
def test_a_broken_rule_of_somebody_else_is_named_with_file_line_and_reason(
    managed: Server, line: str, error: str
) -> None:
    managed.cluster.append("pg_hba.conf", line + "\n")
    number = (managed.cluster.data / "pg_hba.conf").read_text().count("\n")
    refused(managed, f"{managed.cluster.data}/pg_hba.conf line {number}: {error}", **OTHER_RULES)
    managed.cluster.append("postgresql.conf", "# our line is not the last any more\nssl = off\n")
    assert managed.converge().changes == ["postgresql.conf: changed"], "only new rules need sound rules"
    assert managed.settle(renew=True).plan.reasons == ["forced"]


def test_a_broken_rule_stops_the_first_set_up_before_tls_is_switched_on(server: Server) -> None:
    server.cluster.append("pg_hba.conf", "hostssl all all all cert clientname=ON\n")
    refused(server, "pg_hba.conf line")
    assert server.cluster.psql("SHOW ssl") == "off"
    assert not server.directory.exists()


def test_rules_that_only_wait_for_tls_are_not_taken_for_broken_ones(server: Server) -> None:
    server.cluster.append("pg_hba.conf", "hostssl all all all cert\n")
    server.cluster.reload()
    row = "SELECT error, type FROM pg_hba_file_rules WHERE error IS NOT NULL"
    assert server.cluster.psql(row).startswith("hostssl record cannot match because SSL is disabled|hostssl")
    assert "pg_hba.conf was not reloaded" not in server.cluster.log()
    assert server.settle().leaf is not None


def test_a_broken_line_in_an_included_file_is_named_by_that_file(managed: Server) -> None:
    if major(managed) < 16:
        pytest.skip("pg_hba.conf includes files from PostgreSQL 16 on")
    managed.cluster.write("more.conf", "# of somebody else\nnonsense\n")
    managed.cluster.append("pg_hba.conf", "include more.conf\n")
    refused(managed, f"{managed.cluster.data}/more.conf line 2: invalid connection type", **OTHER_RULES)
    managed.cluster.append("pg_hba.conf", "include gone.conf\n")
    refused(managed, 'gone.conf": No such file', **OTHER_RULES)
    assert managed.converge(hba_mode="replace").changes == ["pg_hba.conf: changed"], "it includes nothing any more"


def test_a_broken_map_of_somebody_else_is_named(managed: Server) -> None:
    if major(managed) < 15:
        pytest.skip("the server tells of its maps from PostgreSQL 15 on")
    managed.cluster.append("pg_ident.conf", "people /(.* app\n")
    refused(managed, f"{managed.cluster.data}/pg_ident.conf line", **OTHER_RULES)
    managed.cluster.write("pg_ident.conf", "people\n")
    refused(managed, "pg_ident.conf line 1: missing entry at end of line", **OTHER_RULES)


@pytest.mark.parametrize("change", [OTHER_RULES, {"hba_mode": "replace"}])
def test_a_broken_line_that_the_run_itself_replaces_does_not_stop_it(managed: Server, change: dict[str, Any]) -> None:
    path = managed.cluster.data / "pg_hba.conf"
    managed.cluster.write("pg_hba.conf", path.read_text().replace("app all cert", "app all crt"))
    assert managed.converge(check_mode=True, **change).changes == ["pg_hba.conf: changed"]
    assert managed.converge(**change).changes == ["pg_hba.conf: changed"]
    managed.restart()


def test_a_broken_line_that_an_interrupted_run_left_does_not_stop_check_mode(
    managed: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_arguments: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(transaction.refusals, "refuse_faulty_rules", lambda *_arguments: None)
        patch.setattr(Journal, "commit", killed)
        patch.setattr(transaction.Prover, "check_rules", killed)
        with pytest.raises(KeyboardInterrupt):
            managed.converge(hba="hostssl all app all nonsense\n" + HBA)
    told = managed.converge(check_mode=True, **OTHER_RULES)
    assert told.changes == managed.converge(**OTHER_RULES).changes


def test_a_file_of_rules_that_would_be_left_empty_is_refused(managed: Server) -> None:
    managed.cluster.write("pg_hba.conf", "# BEGIN pgops.tls\nlocal all all trust\n# END pgops.tls\n# no more\n")
    refused(managed, "pg_hba.conf: no rule would be left in it", hba="", plaintext="allow")


@pytest.mark.parametrize(
    ("lines", "error"),
    [
        ("include 'more.conf'\n", "more.conf line 2: syntax error"),
        ("include 'gone.conf'\n", "could not open file"),
    ],
)
def test_a_broken_file_that_postgresql_conf_includes_is_named(managed: Server, lines: str, error: str) -> None:
    managed.cluster.write("more.conf", "# of somebody else\nnonsense without an end\n")
    text = (managed.cluster.data / "postgresql.conf").read_text()
    managed.cluster.write("postgresql.conf", lines + text)
    refused(managed, error, **OTHER_RULES)
    refused(managed, error, renew=True)


@pytest.mark.parametrize("line", ["people", "people alice", "people alice,bob app"])
def test_a_line_that_is_no_mapping_is_refused_whatever_the_version(managed: Server, line: str) -> None:
    refused(managed, f"ident line 2: found {line!r}, expected MAP", ident=f"a b c\n{line}\n")


def test_a_broken_map_of_somebody_else_is_named_where_the_server_cannot_tell(
    managed: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    inspect = transaction.state.inspect
    monkeypatch.setattr(transaction.state, "inspect", lambda who: inspect(who)._replace(version=140000))
    managed.cluster.write("pg_ident.conf", "# of somebody else\npeople alice\n")
    refused(managed, f"{managed.cluster.data}/pg_ident.conf line 2: found 'people alice', expected MAP", **OTHER_RULES)


def test_a_server_that_was_set_up_for_another_name_of_the_inventory_is_refused(managed: Server) -> None:
    assert managed.converge(host="db1").changes == [], (
        "what an earlier version has left gets its name with the next change"
    )
    assert managed.settle(host="db1", renew=True).plan.reasons == ["forced"]
    refused(managed, "this server was set up as host 'db1' of the inventory, and this run calls it 'pg1'", host="pg1")
    refused(managed, "set up as host 'db1'", host="pg1", former_host="db2", renew=True)
    leaf = managed.served()
    renamed = managed.settle(host="pg1", former_host="db1")
    assert renamed.changes == ["inventory host: db1 -> pg1"]
    assert managed.served() == leaf
    assert managed.converge(host="pg1").changes == managed.converge().changes == []
    refused(managed, "set up as host 'pg1'", host="db1")
    managed.restart()


def test_a_server_that_uses_the_directory_of_another_name_of_the_inventory_is_refused(managed: Server) -> None:
    managed.settle(host="db1", renew=True)
    elsewhere = dataclasses.replace(managed, directory=managed.cluster.home / "elsewhere")
    told = f"{managed.directory}/current/ssl.conf: this server was set up as host 'db1' of the inventory, and this run"
    refused(elsewhere, told, host="pg1")
    assert not (elsewhere.directory / "current").exists()
    elsewhere.settle(host="db1")
    assert elsewhere.settle(host="pg1", former_host="db1", renew=True).changes, "moved, then renamed"
    assert elsewhere.converge(host="pg1").changes == [], "the directory that is no longer in use says nothing"
    refused(managed, f"{elsewhere.directory}/current/ssl.conf: this server was set up as host 'pg1'", host="db1")
    elsewhere.restart()
