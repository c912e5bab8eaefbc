# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules that would lock somebody out are found before anything changes, and by check mode as by the run."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.postgres import client_rules, rule_text, wire
from ansible_collections.pgops.tls.tests import loops
from ansible_collections.pgops.tls.tests.servers import AUTHORITIES, HBA, Server
from ansible_collections.pgops.tls.tests.system.test_server_found_first import refused

LETS_IN_APP = "hostssl all app all trust\n" + HBA
SHUTS_OUT_APP = "hostssl all app all reject\n" + HBA
APP_CLIENTS = [{"role": "app", "databases": []}]


@contextlib.contextmanager
def session(server: Server, *, tls: bool = True, role: str = "app") -> Iterator[None]:
    """Keep a session open over TCP."""
    endpoint = wire.Endpoint("127.0.0.1", server.cluster.port)
    with (wire.encrypted if tls else wire.connected)(endpoint) as connection:
        assert wire.log_in(connection, role, "postgres") == "in"
        yield


@contextlib.contextmanager
def local_session(server: Server, role: str) -> Iterator[None]:
    """Keep a session open over the socket."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(f"{server.cluster.socket_directory}/.s.PGSQL.{server.cluster.port}")
        assert wire.log_in(connection, role, "postgres") == "in"
        yield


@pytest.mark.parametrize(
    ("line", "decides"),
    [
        ("local all all reject", "(local all all reject) decides, method reject"),
        ("local all all md5", "(local all all md5) decides, method md5 decides"),
        ("local all all peer map=none", "OS user '{account}' may not be role 'postgres' through map none"),
        ("local other all trust", "over the socket: no rule matches"),
        ("host all all all md5", "over the socket: no rule matches"),
    ],
)
def test_a_line_on_disk_that_would_lock_this_module_out_at_the_next_reload(
    managed: Server, line: str, decides: str
) -> None:
    managed.cluster.write("pg_hba.conf", line + "\n")  # the server has not loaded that yet
    refused(managed, decides.format(account=managed.cluster.account))
    refused(managed, "Add a rule for it before that one: local all postgres peer", on_lockout="allow")


def test_whom_rules_ask_for_a_password_besides_the_certificate_is_told_before_they_are_written(managed: Server) -> None:
    rule = "hostssl all app all scram-sha-256 clientcert=verify-full"
    given = {"hba": f"{rule}\n{HBA}", "clients": APP_CLIENTS}
    for check_mode in (True, False):
        (warning,) = [one for one in managed.converge(check_mode=check_mode, **given).warnings if "password" in one]
        assert warning.startswith(
            "These roles of clients need a password besides their certificate: app (pg_hba.conf line"
        )
        assert f"({rule}) decides" in warning
        assert "verified up to the password prompt. To verify the whole login, put the password into .pgpass" in warning
    assert not [one for one in managed.converge(hba=HBA, clients=APP_CLIENTS).warnings if "password" in one]


def test_an_address_that_a_live_session_does_not_have_is_refused_with_what_to_add(managed: Server) -> None:
    managed.converge(hba=LETS_IN_APP)
    rules = client_rules.rules([{"role": "app", "address": ["127.0.0.2", "10.0.0.0/8"]}])
    narrow = "\n".join([*map(rule_text.rule_line, rules), HBA])
    with session(managed):
        refused(managed, "from 127.0.0.1", hba=narrow)
        refused(managed, "If the identity of a role in clients has an address, add those of its sessions", hba=narrow)
    clients = [{"role": "app", "address": ["127.0.0.2", "192.0.2.1"]}]
    refused(managed, "app in database all from 192.0.2.1/32: pg_hba.conf line", hba=narrow, clients=clients)
    managed.converge(hba=narrow, clients=[{"role": "app", "address": "10.0.0.0/24"}])


def test_a_map_that_would_lock_this_module_out(managed: Server) -> None:
    account = managed.cluster.account
    managed.cluster.write("pg_hba.conf", "local all all peer map=people\n" + HBA)
    managed.converge(ident=f"people {account} postgres\n")
    refused(managed, "may not be role 'postgres' through map people", ident=f"people {account} app\n")
    assert managed.converge(ident=f"people /^{account}$ postgres\n").changes == ["pg_ident.conf: changed"]


def test_a_live_session_that_new_rules_would_not_let_in_again(managed: Server) -> None:
    managed.converge(hba=LETS_IN_APP)
    with session(managed):
        refused(managed, "would not let 1 live session(s) in again: app@postgres from 127.0.0.1", hba=SHUTS_OUT_APP)
        refused(managed, "no rule matches", hba_mode="replace", hba=HBA.replace("all app all cert", "all x all cert"))
        with pytest.raises(TlsError) as failure:
            managed.converge(hba=SHUTS_OUT_APP)
        assert [one["role"] for one in failure.value.details["shut_out_sessions"]] == ["app"]
        assert managed.converge(hba=SHUTS_OUT_APP, on_lockout="allow").changes == ["pg_hba.conf: changed"]


def test_a_live_session_over_the_socket_counts_and_this_modules_own_does_not(managed: Server) -> None:
    with local_session(managed, "app"):
        refused(managed, "app@postgres from the socket (pgops.tls,", hba_mode="replace")
    assert managed.converge(hba_mode="replace").changes == ["pg_hba.conf: changed"]


def test_sessions_that_new_rules_do_not_shut_out_stop_nobody(managed: Server) -> None:
    managed.converge(hba=LETS_IN_APP)
    with session(managed):
        # a password: whoever is connected may have it
        for line in ("hostssl all app all md5", "hostssl all app samenet reject\n" + LETS_IN_APP):
            assert managed.converge(hba=f"{line}\n{HBA}").changes == ["pg_hba.conf: changed"]
        managed.cluster.psql("ALTER ROLE app NOLOGIN")
        assert managed.converge(hba=SHUTS_OUT_APP).changes == ["pg_hba.conf: changed"]


@pytest.mark.parametrize(
    "line",
    [
        "hostssl all app all cert",
        "hostssl all app all scram-sha-256 clientcert=verify-ca",
        "hostssl postgres app 127.0.0.0/8 trust clientcert=verify-full",
    ],
)
def test_a_session_without_a_certificate_counts_where_a_new_rule_asks_for_one(managed: Server, line: str) -> None:
    managed.converge(hba=LETS_IN_APP)
    with session(managed):
        coming = f"{line}\n{LETS_IN_APP}"
        refused(
            managed, "would not let 1 live session(s) in again: app@postgres from 127.0.0.1 (pgops.tls,", hba=coming
        )
        refused(managed, f"({line}) decides, it demands a certificate. Nothing was changed. If sessions", hba=coming)
        refused(managed, "run with an empty hba first", hba=coming)
        assert managed.converge(hba=coming, on_lockout="allow").changes == ["pg_hba.conf: changed"]
        assert managed.converge(hba=f"# another\n{coming}").changes, "what shuts it out already is nothing new"


def test_a_session_with_a_certificate_is_not_held_against_a_rule_that_asks_for_one(
    managed: Server, tmp_path: Path
) -> None:
    managed.converge(hba=LETS_IN_APP)
    with loops.session(tmp_path, managed.cluster.port, AUTHORITIES["server"], AUTHORITIES["client"]):
        assert managed.converge().changes == ["pg_hba.conf: changed"]


def test_a_session_without_a_certificate_comes_back_where_another_rule_takes_it(managed: Server) -> None:
    managed.converge(hba=LETS_IN_APP)
    with session(managed):
        for line in ("hostssl other app all cert", "hostssl all app 192.0.2.0/24 cert"):
            assert managed.converge(hba=f"{line}\n{LETS_IN_APP}").changes == ["pg_hba.conf: changed"]
        refused(managed, "Declare a rule for them", hba=SHUTS_OUT_APP)
        with pytest.raises(TlsError) as failure:
            managed.converge(hba=SHUTS_OUT_APP, check_mode=True)
        assert "If sessions lack" not in failure.value.message


def test_a_session_that_could_not_come_back_anyway_stops_nobody(managed: Server) -> None:
    managed.converge(hba=LETS_IN_APP)
    with session(managed):
        managed.converge(hba=SHUTS_OUT_APP, on_lockout="allow")
        assert managed.converge(hba="# another\n" + SHUTS_OUT_APP).changes == ["pg_hba.conf: changed"]


def test_a_session_without_tls_counts_where_plaintext_is_allowed(managed: Server) -> None:
    open_to_all = "host all app all trust\n"
    managed.converge(hba=open_to_all, plaintext="allow")
    with session(managed, tls=False):
        refused(managed, "app@postgres from 127.0.0.1", hba="hostnossl all app all reject\n", plaintext="allow")
        assert managed.converge(hba="# another\n" + open_to_all, plaintext="allow").changes


def test_groups_of_the_server_decide(managed: Server) -> None:
    managed.cluster.psql("CREATE ROLE staff; CREATE ROLE boss LOGIN; GRANT staff TO app")
    everybody = "hostssl all app,boss all trust\n" + HBA
    managed.converge(hba=everybody)
    closed_to_staff = "hostssl all +staff all reject\n" + everybody
    with session(managed):
        refused(managed, "app@postgres from 127.0.0.1", hba=closed_to_staff)
    with session(managed, role="boss"):
        assert managed.converge(hba=closed_to_staff).changes == ["pg_hba.conf: changed"]


@pytest.mark.parametrize(
    ("rules", "decides"),
    [
        ("hostssl all other all cert", "app in database all: no rule matches"),
        ("hostssl all all all reject\nhostssl all app all cert", "(hostssl all all all reject) decides"),
        ("hostssl all app all scram-sha-256", "method scram-sha-256 decides"),
        ("hostssl all app all cert map=people", "CN 'app' may not be role 'app' through map people"),
        ("hostnossl all app all reject", "no rule matches"),
    ],
)
def test_a_client_whose_certificate_no_rule_takes(managed: Server, rules: str, decides: str) -> None:
    options = {"hba_mode": "replace", "plaintext": "allow", "ident": "people alice app\n", "clients": APP_CLIENTS}
    refused(managed, decides, hba=rules, **options)
    refused(managed, "{database: all, user: app, method: cert}", hba=rules, **options)
    assert managed.converge(hba=rules, on_lockout="allow", **options).changes


def test_a_client_is_found_although_the_rules_stay_as_they_are(managed: Server) -> None:
    managed.converge(hba_mode="replace")
    clients: list[dict[str, Any]] = [*APP_CLIENTS, {"role": "late", "databases": ["shop"]}]
    refused(managed, "No rule of pg_hba.conf accepts the certificates", hba_mode="replace", clients=clients)
    with pytest.raises(TlsError) as failure:
        managed.converge(hba_mode="replace", clients=clients)
    assert failure.value.details["forgotten_clients"] == [{"role": "late", "database": "shop"}]


def test_each_database_of_a_client_has_to_be_open(managed: Server) -> None:
    rules = {"hba_mode": "replace", "hba": "hostssl shop,app,postgres app all cert\n" + HBA.replace("app", "x")}
    for names in (["shop"], ["sameuser"], [], ["all"], ["+group"], ["shop", "app"]):
        managed.converge(clients=[{"role": "app", "databases": names}], **rules)
    for names in (["replication"], ["other"], ["shop", "other"]):
        refused(managed, f"app in database {names[-1]}", clients=[{"role": "app", "databases": names}], **rules)


@pytest.mark.parametrize(
    "rules",
    [
        "hostssl all app 192.0.2.0/24 cert\nhostssl all all all reject",
        "hostssl all all all scram-sha-256 clientcert=verify-full",
        "hostssl all +somebody all cert\nhostssl all all all reject",
        "hostssl all all all trust",
        "hostssl all all all cert map=people",
    ],
)
def test_a_rule_that_may_take_the_certificate_is_enough(managed: Server, rules: str) -> None:
    options = {"hba_mode": "replace", "plaintext": "allow", "ident": "people app app\n", "clients": APP_CLIENTS}
    assert managed.converge(hba=rules, **options).changes


def test_where_no_rules_are_declared_the_file_is_left_to_others(managed: Server) -> None:
    assert managed.converge(hba="", plaintext="allow", clients=APP_CLIENTS).changes == ["pg_hba.conf: changed"]


def test_rules_below_the_block_take_certificates_too(managed: Server) -> None:
    rules = "hostnossl all all all reject\nhostnossl replication all all reject\n"
    refused(managed, "no rule matches", hba=rules, clients=APP_CLIENTS)
    managed.cluster.append("pg_hba.conf", "hostssl all all samenet cert\n")
    assert managed.converge(hba=rules, clients=APP_CLIENTS).changes
