# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Clients of a live PgBouncer that are not in the inventory: a run that would lock them out stops before it."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import struct
from collections.abc import Iterator
from typing import Any

import pytest
from ansible_collections.pgops.tls.plugins.module_utils.authority import issuing, profiles
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.postgres import wire
from ansible_collections.pgops.tls.plugins.module_utils.x509 import openssl
from ansible_collections.pgops.tls.tests import poolers
from ansible_collections.pgops.tls.tests.poolers import Pooler, sign
from ansible_collections.pgops.tls.tests.servers import AUTHORITIES, TODAY, Server
from ansible_collections.pgops.tls.tests.shared import DAY

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as another OS user"),
    pytest.mark.skipif(not shutil.which("pgbouncer"), reason="there is no PgBouncer here"),
]
COMPANY = issuing.new_authority("client", "P-256", TODAY)


@pytest.fixture(scope="module")
def database(shared_cluster: Any) -> Any:
    """Give a server that trusts the pooler's certificate for role app, and lets it in without TLS, too."""
    shared_cluster.psql("CREATE ROLE app LOGIN")
    rules = f"hostnossl all app all trust\n{poolers.HBA}"
    Server(shared_cluster, shared_cluster.home / "tls").settle(hba=rules, ident=poolers.IDENT, plaintext="allow")
    return shared_cluster


@pytest.fixture
def pooler(database: Any) -> Iterator[Pooler]:
    """Give a PgBouncer that the collection has not seen yet."""
    with poolers.running(database) as running:
        running.write_ini(before="server_tls_sslmode = disable")  # the default of old versions, not of new ones
        running.restart()
        yield running


@contextlib.contextmanager
def plaintext_client(pooler: Pooler) -> Iterator[None]:
    with wire.connected(wire.Endpoint("127.0.0.1", pooler.port)) as session:
        assert wire.log_in(session, "app", "shop") == "in"
        yield


def refused(pooler: Pooler, code: str, message: str, **changes: Any) -> None:
    disk = pooler.disk()
    for check_mode in (True, False):
        with pytest.raises(TlsError, match=message) as failure:
            pooler.converge(check_mode=check_mode, **changes)
        assert failure.value.code == code
        assert "Nothing was changed." in failure.value.message
    assert pooler.disk() == disk
    assert not (pooler.directory / "journal.json").exists()


def own_tls(pooler: Pooler, mode: str, company: issuing.Authority = COMPANY) -> str:
    """Give PgBouncer TLS of its own, which trusts a company's clients; return the path of their authority."""
    key = pooler.give("own.key", openssl.new_key("P-256"), 0o600)
    chain = pooler.give("own.crt", sign("front", openssl.new_request(str(key))))
    trusted = pooler.give("company.pem", f"Our company\n{company.issuing.pem}{company.root.pem}")
    lines = f"client_tls_sslmode = {mode}\nclient_tls_cert_file = {chain}\nclient_tls_key_file = {key}\n"
    pooler.write_ini(before=f"server_tls_sslmode = disable\n{lines}client_tls_ca_file = {trusted}")
    pooler.restart()
    return str(trusted)


# Clients without TLS


def test_a_first_run_stops_while_clients_are_connected_without_tls(pooler: Pooler) -> None:
    message = "client_tls_sslmode is require, but live connections use no TLS .*: app@shop from 127.0.0.1. Nothing"
    with plaintext_client(pooler):
        refused(pooler, "session_lockout", message)
        assert pooler.plain() == b"1"
    pooler.settle()
    assert pooler.query("SELECT 1") == b"1"


@pytest.mark.parametrize("mode", ["allow", "prefer"])
def test_with_a_mode_that_lets_them_in_it_does_not_stop_until_tls_is_demanded(pooler: Pooler, mode: str) -> None:
    with plaintext_client(pooler):
        pooler.settle(client_tls_sslmode=mode)
        assert (pooler.plain(), pooler.query("SELECT 1")) == (b"1", b"1")
        refused(pooler, "session_lockout", "is verify-full, but live connections", client_tls_sslmode="verify-full")
        refused(pooler, "session_lockout", "is require, but live connections use no TLS")
        assert pooler.settle(client_tls_sslmode=mode, renew=True).changes
    assert pooler.settle().changes == ["tls.ini: changed"]


def test_who_is_ignored_on_purpose_stops_neither_this_run_nor_a_later_one(pooler: Pooler) -> None:
    with plaintext_client(pooler):
        pooler.settle(on_lockout="allow")
        assert pooler.settle(renew=True).changes[0] == "front certificate: forced"
        with pytest.raises(AssertionError, match="SSL required"):
            pooler.plain()


def test_clients_with_tls_and_those_of_the_socket_stop_nothing(pooler: Pooler) -> None:
    pooler.settle(client_tls_sslmode="prefer")
    options = b"user\0app\0database\0shop\0\0"
    over_tls = wire.encrypted(wire.Endpoint("127.0.0.1", pooler.port))
    with over_tls as session, socket.socket(socket.AF_UNIX) as local:
        assert wire.log_in(session, "app", "shop") == "in"
        local.connect(f"{pooler.home}/.s.PGSQL.{pooler.port}")
        local.sendall(struct.pack("!ii", len(options) + 8, 196608) + options)
        assert local.recv(1) == b"R"
        assert pooler.settle().changes == ["tls.ini: changed"]


# TLS of its own, which demands more, or trusts others


def test_a_mode_of_its_own_is_not_lowered_in_silence(pooler: Pooler) -> None:
    pooler.options = {"trusted_clients": AUTHORITIES["client"].root.pem + COMPANY.issuing.pem + COMPANY.root.pem}
    own_tls(pooler, "verify-full")
    refused(pooler, "pooler_sslmode_lowered", r"own client_tls_sslmode is verify-full\. require would demand less")
    refused(pooler, "pooler_sslmode_lowered", r"Set client_tls_sslmode: verify-full\.", on_lockout="allow")
    pooler.settle(client_tls_sslmode="verify-full")
    assert pooler.settle(client_tls_sslmode="require").changes == ["tls.ini: changed"], "the inventory has said so"


@pytest.mark.parametrize("mode", ["prefer", "verify-full"])
def test_clients_with_certificates_of_another_authority_are_not_locked_out(pooler: Pooler, mode: str) -> None:
    trusted = own_tls(pooler, mode)
    names = "'.*', '.*'"
    message = rf"{trusted} \(client_tls_ca_file in force\) has authorities that .* no longer trust: {names}\. It"
    refused(pooler, "pooler_trust_missing", message, client_tls_sslmode=mode)
    with_company = AUTHORITIES["client"].root.pem + COMPANY.issuing.pem + COMPANY.root.pem
    assert pooler.converge(check_mode=True, client_tls_sslmode=mode, trusted_clients=with_company).changes
    pooler.settle(client_tls_sslmode=mode, on_lockout="allow")
    assert pooler.settle(client_tls_sslmode=mode, renew=True).changes, "what is in force is ours now"


def test_authorities_that_have_ended_stop_nothing(pooler: Pooler) -> None:
    own_tls(pooler, "require", issuing.new_authority("client", "P-256", TODAY - profiles.ROOT_LIFE - DAY))
    assert pooler.converge(check_mode=True).changes
