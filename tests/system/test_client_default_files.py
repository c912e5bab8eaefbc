# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""OS users who also connect to servers outside the inventory: nothing gets worse for them before somebody says so."""

from __future__ import annotations

import json
import os
from typing import Any

import pytest
from ansible_collections.pgops.tls.plugins.module_utils.client import convergence, removal, target
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.tests.clients import Clients, User, identity, new_key, snapshot
from ansible_collections.pgops.tls.tests.servers import AUTHORITIES, TODAY, Server

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can make OS users")

KNOWN = ["db1.example.com", "192.0.2.1"]


def said(clients: Clients, value: object) -> list[dict[str, Any]]:
    return [{**one, "default_files": value} for one in clients.options["identities"]]


def warnings(clients: Clients) -> list[str]:
    wanted = target.read(clients.options, TODAY)
    return convergence.converge(wanted, TODAY, float(TODAY), check_mode=True).warnings


@pytest.fixture
def elsewhere(clients: Clients, server: Server, server_authority: Any, client_authority: Any) -> Server:
    """Run a server outside the inventory, with a certificate of another root."""
    server.cluster.serve(*server_authority.issue("own", "serverAuth", "DNS:localhost"), client_authority.root)
    server.cluster.append("postgresql.conf", "ssl_ca_file = ''\n")
    server.cluster.hba("host all app all trust")
    server.cluster.reload()
    clients.options["known_servers"] = KNOWN
    return server


def tls(user: User, server: Server, mode: str) -> str:
    """Return whether a connection of the user is encrypted, by its password file; or why there is none."""
    line = f"host=localhost hostaddr=127.0.0.1 port={server.cluster.port} sslmode={mode} gssencmode=disable"
    query = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()"
    done = user.run("psql", "-XAtqw", f"{line} user=app dbname=postgres", "-c", query)
    return (done.stdout + done.stderr).strip()


def test_a_user_with_a_password_for_a_server_elsewhere_keeps_tls_there(
    clients: Clients, alice: User, elsewhere: Server
) -> None:
    alice.write(".pgpass", f"db1.example.com:*:*:*:one\nlocalhost:{elsewhere.cluster.port}:*:app:hunter2\n", 0o600)
    assert [tls(alice, elsewhere, mode) for mode in ("prefer", "require")] == ["t", "t"]
    before = snapshot(alice.home)
    for check_mode in (True, False):
        with pytest.raises(TlsError, match=r"servers outside the inventory: localhost \(\.pgpass\)\. ") as caught:
            clients.call(check_mode=check_mode)
        assert caught.value.code == "servers_outside"
        assert "default_files" in caught.value.message
        assert "hunter2" not in json.dumps(caught.value.as_result())
    assert snapshot(alice.home) == before

    without = {"identities": said(clients, False)}
    assert warnings(Clients({**clients.options, **without})) == []
    clients.converge(**without)
    assert sorted(os.listdir(alice.default)) == ["pgops"]
    assert [tls(alice, elsewhere, mode) for mode in ("prefer", "require")] == ["t", "t"]
    assert clients.call(**without)["changed"] is False

    [warning] = warnings(Clients({**clients.options, "identities": said(clients, True)}))
    assert warning.startswith(f"{alice.default}: OS user '{alice.name}' gets files at libpq's default names")
    clients.call(identities=said(clients, True))
    assert tls(alice, elsewhere, "prefer") == "f", "what the message warns of"
    assert "certificate verify failed" in tls(alice, elsewhere, "require")
    assert clients.call()["changed"] is False, "they are there: what is said no longer matters"
    clients.call(**without)
    assert [tls(alice, elsewhere, mode) for mode in ("prefer", "require")] == ["t", "t"]


def test_services_log_in_without_default_files(clients: Clients, alice: User, managed: Server) -> None:
    clients.options["roots"] = managed.all_options()["roots"]
    managed.settle(trusted_clients=AUTHORITIES["client"].issuing.pem + AUTHORITIES["client"].root.pem)
    clients.converge(identities=said(clients, False))
    line = f"service=app host=localhost hostaddr=127.0.0.1 port={managed.cluster.port} dbname=postgres"
    done = alice.run("psql", "-XAtqw", line, "-c", "SELECT current_user")
    assert done.stdout == "app\n", done.stderr


FILES = {
    ".pgpass": ("db1.example.com:*:*:*:one\n192.0.2.1:*:*:*:two\n*:*:*:*:three\n", True),
    ".pg_service.conf": ("[own]\nhost=db9.example.com\npassword=hunter2\n", False),
}


@pytest.mark.parametrize("path", FILES)
def test_what_each_file_says(clients: Clients, alice: User, path: str) -> None:
    text, is_known = FILES[path]
    clients.options["known_servers"] = KNOWN
    alice.write(path, text, 0o600)
    if is_known:
        assert clients.call(check_mode=True)["changed"]
        return
    with pytest.raises(TlsError, match=rf"servers outside the inventory: db9\.example\.com \({path}\)\. ") as caught:
        clients.call(check_mode=True)
    assert "hunter2" not in caught.value.message


def test_many_servers_are_counted_and_nobody_else_is_touched(clients: Clients, alice: User, bob: User) -> None:
    clients.options["known_servers"] = KNOWN
    clients.options["identities"] = [identity(alice, "app"), identity(bob, "app")]
    bob.write(".pgpass", "".join(f"old{number}:*:*:*:secret\n" for number in range(7)), 0o600)
    with pytest.raises(TlsError, match=r"old4 \(\.pgpass\) and 2 more\. "):
        clients.call()
    assert list(alice.home.iterdir()) == []


def no_question(clients: Clients, _alice: User) -> None:
    clients.options["known_servers"] = None


def home_of_its_own(clients: Clients, alice: User) -> None:
    clients.options["identities"][0]["home"] = str(alice.home)


def set_up_before(clients: Clients, _alice: User) -> None:
    known = clients.options.pop("known_servers")
    clients.converge()
    clients.options["known_servers"] = known


def not_readable(_clients: Clients, alice: User) -> None:
    os.chown(alice.home / ".pgpass", 0, 0)


def a_pipe(_clients: Clients, alice: User) -> None:
    (alice.home / ".pgpass").unlink()
    os.mkfifo(alice.home / ".pgpass")


@pytest.mark.parametrize("act", [no_question, home_of_its_own, set_up_before, not_readable, a_pipe])
def test_where_nothing_stops(clients: Clients, alice: User, act: Any) -> None:
    clients.options["known_servers"] = KNOWN
    alice.write(".pgpass", "old.example.com:*:*:*:secret\n", 0o600)
    with pytest.raises(TlsError, match=r"old\.example\.com"):
        clients.call()
    act(clients, alice)
    clients.call()


def test_default_files_that_go_are_replaced_by_those_that_were_kept(clients: Clients, alice: User) -> None:
    alice.write(".postgresql/postgresql.key", new_key().decode(), 0o600)
    alice.write(".postgresql/root.crt", "another's root\n", 0o640)
    own = {path.name: path.read_bytes() for path in alice.default.iterdir()}
    clients.converge()
    without = {"identities": said(clients, False)}
    before = snapshot(alice.home)
    foreseen = clients.call(check_mode=True, **without)
    assert snapshot(alice.home) == before
    done = clients.call(**without)
    assert (done["changes"], done["diff"]) == (foreseen["changes"], foreseen["diff"])
    assert done["changes"] == [
        f"{alice.default}/postgresql.crt: the link is removed",
        f"{alice.default}/postgresql.key: postgresql.key.before-pgops is back",
        f"{alice.default}/root.crt: root.crt.before-pgops is back",
    ]
    [entry] = done["diff"]
    assert entry["after"] == "postgresql.key: postgresql.key.before-pgops\nroot.crt: root.crt.before-pgops\n"
    assert {path.name: path.read_bytes() for path in alice.default.iterdir() if path.is_file()} == own
    assert clients.call(**without)["changed"] is False
    clients.call()
    assert (alice.default / "root.crt").is_symlink()
    clients.call(kind=removal.Removal)
    assert {path.name: path.read_bytes() for path in alice.default.iterdir()} == own


def test_the_identity_that_says_so_has_them(clients: Clients, alice: User) -> None:
    own = [identity(alice, "app"), {**identity(alice, "reporting"), "default_files": True}]
    clients.converge(identities=own)
    assert os.readlink(alice.default / "postgresql.crt") == "pgops/current/reporting/postgresql.crt"
    clients.call(identities=[own[0], {**own[1], "default_files": None}])
    assert os.readlink(alice.default / "postgresql.crt") == "pgops/current/app/postgresql.crt"


def test_lists_of_revoked_certificates_keep_off_the_default_name_too(clients: Clients, alice: User) -> None:
    clients.options["crls"] = "".join(AUTHORITIES["server"].crls)
    without = {"identities": said(clients, False)}
    clients.converge(**without)
    assert sorted(os.listdir(alice.default)) == ["pgops"]
    assert f"sslcrl={alice.store}/current/root.crl" in alice.service_file.read_text()
    assert warnings(Clients({**clients.options, **without})) == []
    clients.call()
    assert (alice.default / "root.crl").is_symlink()
    clients.call(**without)
    assert sorted(os.listdir(alice.default)) == ["pgops"]
