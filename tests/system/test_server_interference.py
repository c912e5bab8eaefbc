# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What others do to a managed server between two runs: repaired, or refused with what to do, and then all is well."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.postgres import wire
from ansible_collections.pgops.tls.plugins.module_utils.x509 import certificate, openssl
from ansible_collections.pgops.tls.tests import clients
from ansible_collections.pgops.tls.tests.faults import everything
from ansible_collections.pgops.tls.tests.servers import AUTHORITIES, HBA, Server, revocation_list

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can play all the others")

Act = Callable[[Server], object]


class Repaired(NamedTuple):
    """What somebody did, and the change in which the next run tells of it."""

    act: Act
    told: str


class Refused(NamedTuple):
    """What somebody did, what the next run says, what is done about it, and the change that may be needed then."""

    act: Act
    said: tuple[str, ...]
    remedy: Act
    told: str = ""


def current(server: Server) -> Path:
    return server.directory / "current"


def give(server: Server, *paths: Path) -> None:
    """Give files to the OS user of the server."""
    for path in paths:
        subprocess.run(["chown", "-Rh", f"{server.cluster.account}:", path], check=True)


def edit(name: str, change: Callable[[str], str]) -> Act:
    """Return an act that edits a file of the generation in use, or of the configuration, and keeps owner and mode."""

    def act(server: Server) -> None:
        path = (server.cluster.data if name.startswith("p") else current(server)) / name
        path.write_text(change(path.read_text()))

    return act


def setting(line: str, *, reload: bool = True) -> Act:
    """Return an act that adds a line to postgresql.conf."""

    def act(server: Server) -> None:
        server.cluster.append("postgresql.conf", line + "\n")
        if reload:
            server.cluster.reload()

    return act


def sql(*statements: str, reload: bool = True) -> Act:
    """Return an act of a superuser."""

    def act(server: Server) -> None:
        for statement in statements:
            server.cluster.psql(statement.replace("TLS", str(server.directory)))
        if reload:
            server.cluster.reload()

    return act


def command(*argv: str) -> Act:
    """Return an act in the shell of root; TLS is the directory of the generations, DATA that of the server."""

    def act(server: Server) -> None:
        names = {"TLS": server.directory, "DATA": server.cluster.data, "USER": server.cluster.account}
        line = " ".join(argv)
        for name, value in names.items():
            line = line.replace(name, str(value))
        subprocess.run(["sh", "-c", line], check=True, cwd="/")

    return act


def another_key(server: Server) -> None:
    (current(server) / "server.key").write_text(openssl.new_key("P-256"))


def older_generation(server: Server) -> None:
    server.settle(renew=True)
    command("ln -sfn generations/0001 TLS/current; chown -h USER TLS/current")(server)


def revoke(authority: str, *, reload: bool) -> Act:
    """Return an act of somebody who refuses revoked certificates."""

    def act(server: Server) -> None:
        path = server.cluster.write("revoked.crl", revocation_list(AUTHORITIES[authority]))
        setting(f"ssl_crl_file = '{path}'", reload=reload)(server)

    return act


REPAIRED = {
    "an authority more to trust": Repaired(
        edit("trusted-clients.crt", lambda text: text + AUTHORITIES["server"].root.pem), "trusted-clients.crt: changed"
    ),
    "a setting in our file": Repaired(
        edit("ssl.conf", lambda text: text + "ssl_min_protocol_version = 'TLSv1.3'\n"),
        "ssl.conf: ssl_min_protocol_version 'TLSv1.3' -> 'unset'",
    ),
    "nonsense in our file": Repaired(edit("ssl.conf", lambda text: text + "nonsense\n"), "ssl.conf: damaged"),
    "a key of another pair": Repaired(another_key, "certificate: unusable: "),
    "a key with a passphrase": Repaired(
        command(
            "openssl ec -aes256 -passout pass:x -in TLS/current/server.key -out TLS/k 2>&1 | cat;"
            "cat TLS/k > TLS/current/server.key; rm TLS/k"
        ),
        "certificate: unusable: ",
    ),
    "a leaf without its issuer": Repaired(
        edit("server.crt", lambda text: certificate.read_pem(text, "chain")[0].pem), "certificate: chain_incomplete"
    ),
    "a leaf that nobody signed": Repaired(
        edit("server.crt", clients.with_forged_signature),
        "certificate: unusable: The rehearsed client refuses the handshake: certificate signature failure",
    ),
    "a key for everybody": Repaired(command("chmod 644 TLS/current/server.key"), "server.key: owner"),
    "a restore with a narrow umask": Repaired(
        command("chmod 600 TLS/current/*.crt TLS/current/ssl.conf"), "trusted-clients.crt: owner"
    ),
    "a restore as root": Repaired(command("chown root TLS/current/server.crt"), "server.crt: owner 0"),
    "a restore as root with a narrow umask": Repaired(
        command("cd TLS/current; chown root server.crt; chmod 600 server.crt"), "certificate: no_certificate"
    ),
    "a restore of the key as root": Repaired(command("chown root TLS/current/server.key"), "certificate: key_missing"),
    "directories for everybody": Repaired(command("chmod -R a+rwX TLS; chmod 755 TLS"), "pending: mode 0777"),
    "directories for a group": Repaired(command("chmod g+w TLS TLS/generations"), "generations: mode 0775"),
    "a link for the key": Repaired(
        command("cd TLS/current; mv server.key /var/tmp/key; ln -s /var/tmp/key server.key"), "server.key: a link"
    ),
    "no key": Repaired(command("rm TLS/current/server.key"), "certificate: key_missing"),
    "no certificate": Repaired(command("rm TLS/current/server.crt"), "certificate: no_certificate"),
    "no trusted authorities": Repaired(command("rm TLS/current/trusted-clients.crt"), "trusted-clients.crt: new"),
    "no settings": Repaired(command("rm TLS/current/ssl.conf"), "ssl.conf: new"),
    "no generation": Repaired(command("rm -r TLS/generations/0001"), "certificate: no_certificate"),
    "no generations at all": Repaired(command("rm -r TLS/generations TLS/pending"), "certificate: no_certificate"),
    "no link": Repaired(command("rm TLS/current"), "certificate: no_certificate"),
    "a link to nothing": Repaired(command("ln -sfn generations/0009 TLS/current"), "certificate: no_certificate"),
    "no directory": Repaired(command("rm -r TLS"), "certificate: no_certificate"),
    "the link to the generation before": Repaired(older_generation, "reload: the server shows another certificate"),
    "a postgresql.conf without our line": Repaired(
        command("sed -i /pgops.tls/d DATA/postgresql.conf"), "postgresql.conf: changed"
    ),
    "a line that wins over ours": Repaired(setting("ssl = off"), "postgresql.conf: changed"),
    "a line that would win at the next reload": Repaired(
        setting("ssl_ca_file = ''", reload=False), "postgresql.conf: changed"
    ),
    "a rule in our block": Repaired(
        edit("pg_hba.conf", lambda text: text.replace("app all cert", "all all trust")), "pg_hba.conf: changed"
    ),
    "rules from before us": Repaired(
        command("sed -i '/BEGIN pgops/,/END pgops/d' DATA/pg_hba.conf"), "pg_hba.conf: changed"
    ),
}


NOT_LOADED = {"reload": False}
REFUSED = {
    "a copy in the place of the link": Refused(
        command("cd TLS; cp -rL current copied; rm current; mv copied current; chown -R USER current"),
        (
            "/current: expected a symbolic link to a generation, found another kind of file",
            "Rename it. In its place, make a link",
        ),
        command("cd TLS; mv current copy; ln -s generations/0001 current; chown -h USER current"),
    ),
    "a link elsewhere": Refused(
        command("cd TLS; cp -a generations/0001 /var/tmp/pgtls; ln -sfn /var/tmp/pgtls current; chown -h USER current"),
        ("/current: expected a link to generations/NNNN, found a link to '/var/tmp/pgtls'", "Point it at"),
        command("cd TLS; ln -sfn generations/0001 current; chown -h USER current; rm -r /var/tmp/pgtls"),
    ),
    "everything owned by root": Refused(
        command("chown -R root TLS"),
        (
            "tls belongs to user id 0; expected a directory of OS user 'postgres'",
            "restore its owner (a restore as root changes it)",
        ),
        command("chown -R USER TLS"),
    ),
    "keys that wait owned by root": Refused(
        command("chown root TLS/pending"),
        ("tls/pending belongs to user id 0; expected a directory of OS user 'postgres'",),
        command("chown USER TLS/pending"),
    ),
    "a directory for everybody": Refused(
        command("chmod 777 TLS"), ("(mode 0777), and could replace", "chmod o-w"), command("chmod 755 TLS")
    ),
    "a directory for a key": Refused(
        command("rm TLS/current/server.key; mkdir TLS/current/server.key"),
        ("/server.key: expected a regular file, found another kind", "Fix that"),
        command("rmdir TLS/current/server.key"),
        "certificate: key_missing",
    ),
    "ALTER SYSTEM": Refused(
        sql("ALTER SYSTEM SET ssl_cert_file = 'elsewhere.crt'"),
        ("ssl_cert_file = 'elsewhere.crt' by ALTER SYSTEM", "ALTER SYSTEM RESET ssl_cert_file"),
        sql("ALTER SYSTEM RESET ssl_cert_file"),
    ),
    "ALTER SYSTEM without a reload": Refused(
        sql("ALTER SYSTEM SET ssl = off", reload=False),
        ("ssl = 'off' by ALTER SYSTEM; undo it with ALTER SYSTEM RESET ssl; SELECT pg_reload_conf();",),
        sql("ALTER SYSTEM RESET ssl", reload=False),
    ),
    "lists of revoked certificates without a reload": Refused(
        lambda server: setting(f"ssl_crl_dir = '{server.cluster.home}'", reload=False)(server),
        ("ssl_crl_dir = ", "postgresql.conf line", "remove it there"),
        command("sed -i /ssl_crl_dir/d DATA/postgresql.conf"),
    ),
    "a list of revoked clients": Refused(
        revoke("client", reload=True),
        ("ssl_crl_file is ", "with a list of ", "would be accepted again", "NOLOGIN"),
        command("sed -i /ssl_crl_file/d DATA/postgresql.conf"),
        "reload: ssl_crl_file is ",
    ),
    "a list of revoked clients without a reload": Refused(
        revoke("client", reload=False),
        ("would be accepted again",),
        command("sed -i /ssl_crl_file/d DATA/postgresql.conf"),
    ),
    "half of the marks": Refused(
        command("sed -i '/END pgops/d' DATA/pg_hba.conf"),
        ("pg_hba.conf: expected one pair of the lines '# BEGIN pgops.tls'", "Fix the markers by hand"),
        command("sed -i '/BEGIN pgops/d' DATA/pg_hba.conf"),
        "pg_hba.conf: changed",
    ),
    "no rules": Refused(
        command("mv DATA/pg_hba.conf DATA/kept"),
        ("pg_hba.conf: the server runs with this file, but it no longer exists. Restore it",),
        command("mv DATA/kept DATA/pg_hba.conf"),
    ),
}


def healthy(server: Server) -> None:
    """Check that all is as after a first run: what is served, modes, owners, refusals, a restart, and nothing to do."""
    leaf = server.converge().leaf
    assert leaf is not None
    assert server.converge().changes == []
    owner = server.directory.owner()
    modes = {path.name: path.stat().st_mode & 0o777 for path in current(server).iterdir()}
    assert modes == {"server.crt": 0o644, "server.key": 0o600, "ssl.conf": 0o644, "trusted-clients.crt": 0o644}
    assert {path.owner() for path in current(server).iterdir()} == {owner}
    assert not [path for path in server.directory.rglob("*") if path.stat().st_mode & 0o022]
    for _start in range(2):
        assert server.served() == leaf.sha256
        endpoint = wire.Endpoint("127.0.0.1", server.cluster.port)
        refused = pytest.raises(wire.RefusedError, match="28000")
        with refused, wire.connected(endpoint) as connection:
            wire.log_in(connection, "app", "postgres")
        server.restart()
    outcome = server.converge()
    assert (outcome.changes, outcome.warnings) == ([], [])


def seen(server: Server) -> tuple[object, ...]:
    """Return what a run could have changed: all files, and how often the server was told to read them."""
    configuration = [path.read_bytes() for path in sorted(server.cluster.data.glob("p*.conf"))]
    return everything(server.directory), configuration, server.cluster.log().count("SIGHUP")


@pytest.mark.sampled(2)
@pytest.mark.parametrize("name", REPAIRED)
def test_what_somebody_did_is_told_and_repaired(managed: Server, name: str) -> None:
    case = REPAIRED[name]
    case.act(managed)
    checked = managed.converge(check_mode=True)
    outcome = managed.settle()
    assert checked.changes == outcome.changes
    assert [change for change in outcome.changes if case.told in change], outcome.changes
    healthy(managed)


@pytest.mark.sampled(2)
@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_repaired_is_named_and_nothing_changes(managed: Server, name: str) -> None:
    if "lists" in name and managed.cluster.psql("SHOW server_version_num") < "140000":
        pytest.skip("ssl_crl_dir came with PostgreSQL 14")
    case = REFUSED[name]
    case.act(managed)
    before = seen(managed)
    for check_mode in (True, False):
        with pytest.raises(TlsError) as failure:
            managed.converge(check_mode=check_mode, hba="# another\n" + HBA)
        for part in case.said:
            assert part in failure.value.message
    assert seen(managed) == before
    case.remedy(managed)
    outcome = managed.settle()
    assert case.told in " ".join(outcome.changes), outcome.changes
    healthy(managed)


def test_a_setting_that_the_server_uses_otherwise_than_its_files_say_is_loaded_again(managed: Server) -> None:
    managed.ssl = {"ssl_prefer_server_ciphers": "on"}
    managed.settle()
    text = (current(managed) / "ssl.conf").read_text()
    edit("ssl.conf", lambda text: text.replace("ciphers = 'on'", "ciphers = 'off'"))(managed)
    managed.cluster.reload()
    edit("ssl.conf", lambda _text: text)(managed)
    told = ["reload: ssl_prefer_server_ciphers is 'off' "]
    for check_mode in (True, False):
        changes = managed.converge(check_mode=check_mode).changes
        assert [change.partition("(")[0] for change in changes] == told
    assert managed.cluster.psql("SHOW ssl_prefer_server_ciphers") == "on"
    healthy(managed)


def test_alter_system_that_was_taken_back_without_a_reload_is_loaded(managed: Server) -> None:
    sql("ALTER SYSTEM SET ssl_ca_file = 'TLS/current/server.crt'")(managed)
    sql("ALTER SYSTEM RESET ssl_ca_file", reload=False)(managed)
    [change] = managed.converge().changes
    assert change.startswith("reload: ssl_ca_file is ")
    healthy(managed)


UNLOADABLE_FILES = {"pg_hba.conf": "would not start again", "pg_ident.conf": "a restart would leave it without any"}


@pytest.mark.parametrize("name", UNLOADABLE_FILES)
def test_a_broken_line_of_somebody_is_told_by_every_run_and_stops_none_that_leaves_rules_alone(
    managed: Server, name: str
) -> None:
    managed.cluster.append(name, "nonsense \n")
    number = (managed.cluster.data / name).read_text().count("\n")
    for options in ({"check_mode": True}, {}, {"renew": True}):
        outcome = managed.settle(**options)
        [warning] = outcome.warnings
        assert f"{managed.cluster.data}/{name} line {number}: " in warning
        assert "Fix or remove that line" in warning or managed.cluster.psql("SHOW server_version_num") < "150000"
    assert managed.converge().changes == []
    command(f"sed -i '$d' DATA/{name}")(managed)
    healthy(managed)


def test_a_broken_line_in_postgresql_conf_is_told_where_nothing_is_to_change(managed: Server) -> None:
    command("sed -i '1i nonsense' DATA/postgresql.conf")(managed)
    [warning] = managed.converge().warnings
    assert f"{managed.cluster.data}/postgresql.conf line 1: syntax error" in warning
    assert "would not start again" in warning


def test_a_warning_of_a_line_with_a_password_does_not_repeat_it(managed: Server) -> None:
    managed.cluster.append("pg_hba.conf", "hostssl all all all ldap ldapbindpasswd=my sesame\n")
    assert "sesame" not in str(managed.converge().warnings)


def test_the_trust_of_a_server_that_is_taken_over_is_told(server: Server) -> None:
    server.cluster.write("clients.crt", AUTHORITIES["server"].root.pem)
    server.cluster.append("postgresql.conf", "ssl_ca_file = 'clients.crt'\n")
    revoke("server", reload=True)(server)
    first = server.converge()
    assert first.request is not None
    trust, lists = first.warnings
    assert "ssl_ca_file is 'clients.crt' in " in trust
    assert "can no longer log in" in trust
    assert "the server no longer reads that list" in lists
    assert server.settle().warnings == first.warnings
    healthy(server)
