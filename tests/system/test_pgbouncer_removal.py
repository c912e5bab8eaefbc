# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A PgBouncer that loses the TLS of this collection, and uses its own settings again."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from typing import Any

import pytest
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.core.privileges import acting_as
from ansible_collections.pgops.tls.plugins.module_utils.pgbouncer import console, ini
from ansible_collections.pgops.tls.plugins.module_utils.pooler import removal
from ansible_collections.pgops.tls.plugins.module_utils.postgres import wire
from ansible_collections.pgops.tls.tests import faults, poolers
from ansible_collections.pgops.tls.tests.poolers import Pooler
from ansible_collections.pgops.tls.tests.servers import AUTHORITIES, Server
from ansible_collections.pgops.tls.tests.shared import IS_THOROUGH

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as another OS user"),
    pytest.mark.skipif(not shutil.which("pgbouncer"), reason="there is no PgBouncer here"),
]
BACK_FILE = "server_tls_cert_file"
STEP = 1 if IS_THOROUGH else 29  # points from one that is tried to the next


@pytest.fixture(scope="module")
def database(shared_cluster: Any) -> Any:
    """Give a server that trusts the pooler's certificate for role app, and lets it in without TLS, too."""
    shared_cluster.psql("CREATE ROLE app LOGIN")
    rules = f"hostnossl all app all trust\n{poolers.HBA}"
    Server(shared_cluster, shared_cluster.home / "tls").settle(hba=rules, ident=poolers.IDENT, plaintext="allow")
    return shared_cluster


@pytest.fixture
def pooler(database: Any) -> Iterator[Pooler]:
    """Give a PgBouncer that the collection has set up; its configuration before is ``text``."""
    with poolers.running(database) as running:
        running.write_ini(before="server_tls_sslmode = disable")  # the default of old versions, not of new ones
        text = running.ini.read_bytes()
        running.settle()
        assert running.ini.read_bytes() != text
        yield running


def remove(pooler: Pooler, **changes: Any) -> list[str]:
    return list(pooler.converge(kind=removal.Removal, **changes).changes)


def in_force(pooler: Pooler) -> dict[str, str]:
    place = console.locate(pooler.port, str(pooler.home))
    with acting_as(place.account), contextlib.closing(console.Console(place)) as session:
        return session.config()


def without_ours(pooler: Pooler) -> str:
    return ini.without_include(pooler.ini.read_text())


def test_its_own_settings_take_effect_again_and_nothing_is_left(pooler: Pooler) -> None:
    own, disk = without_ours(pooler), pooler.disk()
    foreseen = remove(pooler, check_mode=True)
    assert foreseen == [f"{pooler.ini}: without what this collection has added", f"{pooler.directory}: removed"]
    assert pooler.disk() == disk
    assert remove(pooler) == foreseen
    assert (pooler.ini.read_text(), pooler.directory.exists()) == (own, False)
    for _restarted in range(2):
        with pytest.raises(TlsError) as failure:
            pooler.served()
        assert failure.value.code == "tls_not_offered"
        assert pooler.plain() == b"1"
        pooler.restart()
    assert remove(pooler) == []
    assert not pooler.directory.exists()


def test_clients_that_use_tls_stop_it_unless_it_is_asked_for(pooler: Pooler) -> None:
    disk = pooler.disk()
    with wire.encrypted(wire.Endpoint("127.0.0.1", pooler.port)) as session:
        assert wire.log_in(session, "app", "shop") == "in"
        for check_mode in (True, False):
            with pytest.raises(
                TlsError, match=r"Live connections use TLS, .* no longer offer: app@shop from 127"
            ) as failure:
                remove(pooler, check_mode=check_mode)
            assert failure.value.code == "session_lockout"
        assert pooler.disk() == disk
        assert len(remove(pooler, on_lockout="allow")) == 2


def test_tls_of_its_own_comes_back_and_stops_nobody(pooler: Pooler) -> None:
    for name in ("server.crt", "server.key"):
        pooler.give(f"own-{name}", (pooler.directory / "current" / name).read_text(), 0o600)
    own = pooler.served()
    pooler.settle(renew=True)
    ours = pooler.served()
    assert ours != own
    # Without a CA file, PgBouncer needs that of the system, which need not be installed
    ca = pooler.give("own-ca.crt", AUTHORITIES["client"].root.pem)
    lines = f"client_tls_sslmode = require\nclient_tls_cert_file = {pooler.home}/own-server.crt\n"
    lines += f"client_tls_key_file = {pooler.home}/own-server.key\nclient_tls_ca_file = {ca}\n"
    pooler.give("pgbouncer.ini", pooler.ini.read_text().replace("\n; a comment", f"\n{lines}; a comment"))
    with wire.encrypted(wire.Endpoint("127.0.0.1", pooler.port)) as session:
        assert wire.log_in(session, "app", "shop") == "in"
        remove(pooler)
    assert pooler.served() == own


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("auth_type = cert", "auth_type is cert, which needs client_tls_sslmode verify-full. Without this collection"),
        ("client_tls_sslmode = require", "client_tls_cert_file: expected a PEM certificate in it, found none"),
        ("nonsense = 1", "setting 'nonsense', which this version of PgBouncer does not know"),
    ],
)
def test_what_it_would_not_load_stops_it(pooler: Pooler, line: str, message: str) -> None:
    if "cert" in line.partition("=")[2]:
        pooler.settle(client_tls_sslmode="verify-full")
    pooler.give("pgbouncer.ini", pooler.ini.read_text().replace("\n; a comment", f"\n{line}\n; a comment"))
    disk, served = pooler.disk(), pooler.directory / "current" / "server.crt"
    with pytest.raises(TlsError) as failure:
        remove(pooler)
    assert message in failure.value.message
    assert "Nothing was changed." in failure.value.message
    assert (pooler.disk(), served.exists()) == (disk, True)


def test_files_of_others_stay(pooler: Pooler) -> None:
    pooler.give("tls/notes.txt", "mine")
    assert remove(pooler)[-1] == f"{pooler.directory}: removed, except for what others put there: notes.txt"
    assert os.listdir(pooler.directory) == ["notes.txt"]


def test_killed_anywhere_it_works_before_or_after_and_the_next_run_removes_the_rest(pooler: Pooler) -> None:
    saved, text, own = faults.everything(pooler.directory), pooler.ini.read_bytes(), without_ours(pooler)

    def reset() -> None:
        pooler.directory.mkdir(exist_ok=True)
        shutil.chown(pooler.directory, poolers.ACCOUNT)
        faults.put_back(pooler.directory, saved)
        pooler.ini.write_bytes(text)
        pooler.restart()

    def check() -> None:
        pooler.restart()
        assert pooler.plain() == b"1" if pooler.ini.read_text() == own else pooler.query("SELECT 1") == b"1"
        remove(pooler)
        assert (pooler.ini.read_text(), pooler.directory.exists()) == (own, False)

    for _number in faults.deaths(lambda: remove(pooler), STEP):
        check()
        reset()


# Files that PgBouncer uses although its configuration no longer includes ours


def test_without_the_line_files_are_not_removed_under_a_pgbouncer_that_uses_them(pooler: Pooler) -> None:
    """Somebody took our lines out, and has not reloaded: each new connection to PostgreSQL opens these files."""
    pooler.give("pgbouncer.ini", without_ours(pooler))
    assert pooler.query("SELECT 1") == b"1"
    disk, foreseen = pooler.disk(), remove(pooler, check_mode=True)
    assert f"reload: {BACK_FILE} is still a file of this collection" in foreseen
    with wire.encrypted(wire.Endpoint("127.0.0.1", pooler.port)) as session:
        assert wire.log_in(session, "app", "shop") == "in"
        with pytest.raises(TlsError, match="Live connections use TLS"):
            remove(pooler)
    assert pooler.disk() == disk
    assert remove(pooler) == foreseen
    assert not pooler.directory.exists()
    assert not [value for value in in_force(pooler).values() if value.startswith(str(pooler.directory))]
    assert pooler.plain() == b"1"
    assert remove(pooler) == []


def test_lines_of_its_own_that_name_our_files_stop_it(pooler: Pooler) -> None:
    used, line = f"{pooler.directory}/current/client.crt", f"\n{BACK_FILE} = "
    with_ours, reloads = pooler.ini.read_text(), pooler.log().count("RELOAD command")
    pooler.give("linked.crt", "").unlink()
    (pooler.home / "linked.crt").symlink_to(used)
    for text in (with_ours, without_ours(pooler)):
        for path in (used, f"{pooler.home}/linked.crt"):
            pooler.give("pgbouncer.ini", text.replace("\n; a comment", f"{line}{path}\n; a comment"))
            for check_mode in (True, False):
                with pytest.raises(TlsError, match=rf"ini line \d+: {BACK_FILE} is a file that is to be") as failure:
                    remove(pooler, check_mode=check_mode)
                assert failure.value.code == "file_still_used"
    assert (pooler.directory / "current" / "client.crt").exists()
    assert pooler.log().count("RELOAD command") == reloads


def test_a_file_of_others_in_the_directory_may_still_be_used(pooler: Pooler) -> None:
    users = pooler.give("tls/users", (pooler.home / "users").read_text())
    pooler.give("pgbouncer.ini", pooler.ini.read_text().replace(f"{pooler.home}/users", str(users)))
    assert remove(pooler)[-1] == f"{pooler.directory}: removed, except for what others put there: users"
