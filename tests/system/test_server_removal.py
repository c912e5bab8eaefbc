# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The way out of a server: its files are as before, its own TLS serves again, and nobody is locked out by it."""

from __future__ import annotations

import contextlib
import errno
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.server import difference, removal
from ansible_collections.pgops.tls.tests import faults, loops
from ansible_collections.pgops.tls.tests.adoption import CONFIGURATION_FILES
from ansible_collections.pgops.tls.tests.servers import AUTHORITIES, Server


def texts(server: Server) -> dict[str, str]:
    """Return the configuration files."""
    return {name: (server.cluster.data / name).read_text() for name in CONFIGURATION_FILES}


def remove(server: Server, **options: Any) -> Any:
    return server.converge(kind=removal.Removal, **options)


@pytest.fixture
def own(server: Server, server_authority: Any, client_authority: Any) -> Server:
    """Give a server with a certificate and a trusted authority of its own, that the collection has not seen yet."""
    server.cluster.serve(*server_authority.issue("own", "serverAuth", "DNS:localhost"), client_authority.root)
    return server


def test_a_server_is_as_it_was_before_and_goes_on_where_it_ended(own: Server) -> None:
    before, served = texts(own), own.served()
    leaf = own.settle(ident="people alice app\n", hba="hostssl all app all cert map=people\n", plaintext="allow").leaf
    disk = own.disk()
    foreseen = remove(own, check_mode=True)
    assert own.disk() == disk
    done = remove(own)
    assert done.changes == foreseen.changes
    assert done.changes == [
        f"{name}: without what this collection has added"
        for name in CONFIGURATION_FILES[::2] + CONFIGURATION_FILES[1:2]
    ]
    headers = [one["before_header"] for one in difference.of_plan(done.plan, done.target, None, done.ssl_conf_before)]
    assert headers == ["postgresql.conf", "pg_ident.conf", "pg_hba.conf"]
    assert texts(own) == before
    assert own.served() == served
    own.restart()
    assert own.served() == served
    assert remove(own).changes == []
    again = own.settle()
    assert not again.plan.reasons
    assert own.served() == leaf.sha256


def test_rules_can_go_alone(own: Server) -> None:
    before = texts(own)
    own.settle()
    served = own.served()
    done = own.converge(kind=removal.RuleRemoval, remove_directory=True)
    assert done.changes == ["pg_hba.conf: without what this collection has added"]
    assert texts(own)["pg_hba.conf"] == before["pg_hba.conf"]
    assert own.served() == served
    assert own.converge(kind=removal.RuleRemoval).changes == []


def test_the_directory_goes_if_that_is_wanted(own: Server) -> None:
    own.settle()
    done = remove(own, check_mode=True, remove_directory=True)
    assert own.directory.exists()
    assert remove(own, remove_directory=True).changes == done.changes
    assert done.changes[-1] == f"{own.directory}: removed"
    assert not own.directory.exists()
    assert remove(own, remove_directory=True).changes == []
    assert not own.directory.exists(), "not even an empty one"


def test_what_others_put_into_the_directory_stays(own: Server) -> None:
    own.settle()
    (own.directory / "dh.pem").write_text("mine")
    done = remove(own, check_mode=True, remove_directory=True)
    assert remove(own, remove_directory=True).changes == done.changes
    assert done.changes[-1] == f"{own.directory}: removed, except for what others put there: dh.pem"
    assert [path.name for path in own.directory.iterdir()] == ["dh.pem"]
    assert remove(own, remove_directory=True).changes == []


def test_what_cannot_be_removed_is_told_as_it_is_and_the_next_run_goes_on(own: Server) -> None:
    before = texts(own)
    own.settle()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "rmdir", read_only)
        with pytest.raises(TlsError, match="is only partly removed, and keys may be left in it") as told:
            remove(own, remove_directory=True)
    assert told.value.details["changed"]
    assert "Nothing was changed" not in told.value.message
    assert texts(own) == before
    assert remove(own, remove_directory=True).changes == [f"{own.directory}: removed"]
    assert not own.directory.exists()


def test_a_directory_that_the_servers_own_settings_name_is_not_removed(own: Server) -> None:
    own.settle()
    own.cluster.append("postgresql.conf", f"ssl_ca_file = '{own.directory}/current/trusted-clients.crt'\n")
    refuse(own, "ssl_ca_file = '.*the server would still use that file", remove_directory=True)
    assert remove(own).changes
    refuse(own, "to be removed with", remove_directory=True)


@pytest.mark.parametrize("kind", [removal.Removal, removal.RuleRemoval])
def test_a_server_that_nobody_has_set_up_stays_as_it_is(own: Server, kind: type[removal.RuleRemoval]) -> None:
    before = texts(own)
    assert own.converge(kind=kind).changes == []
    assert texts(own) == before
    assert not own.directory.exists()


def refuse(server: Server, said: str, kind: type[removal.RuleRemoval] = removal.Removal, **options: Any) -> None:
    """Check that the way out is refused, in check mode too, and nothing changes."""
    files, disk = texts(server), server.disk()
    for check_mode in (True, False):
        with pytest.raises(TlsError, match=said):
            server.converge(kind=kind, check_mode=check_mode, **options)
    assert (texts(server), server.disk()) == (files, disk)


def read_only(path: str, **_options: Any) -> None:
    """Stand for rmdir() of a file system that was mounted read-only meanwhile."""
    raise OSError(errno.EROFS, os.strerror(errno.EROFS), path)


def session(server: Server, folder: Path) -> contextlib.AbstractContextManager[None]:
    """Hold a session of a client with a certificate of ours open."""
    return loops.session(folder, server.cluster.port, AUTHORITIES["server"], AUTHORITIES["client"])


def test_sessions_whose_certificates_would_not_be_trusted_any_more_stop_it(own: Server, tmp_path: Path) -> None:
    own.settle()
    own.cluster.append("pg_hba.conf", "host all app all trust\n")  # so it is not the rules
    with session(own, tmp_path):
        refuse(own, "Live sessions have certificates of this collection, which the server would no longer trust")
        assert remove(own, on_lockout="allow").changes
    own.settle()
    assert remove(own).changes, "without such a session nothing stops it"


def test_sessions_of_clients_that_leave_in_the_same_run_do_not_stop_it(own: Server, tmp_path: Path) -> None:
    own.settle()
    own.cluster.append("pg_hba.conf", "host all app all trust\n")
    with session(own, tmp_path):
        said = "Live sessions have certificates of this collection"
        refuse(own, said, clients=[{"role": "other", "os_user": "shop"}])
        assert remove(own, clients=[{"role": "app", "os_user": "shop"}]).changes


def test_what_could_not_be_noted_or_proven_stops_it(own: Server) -> None:
    own.settle()
    own.directory.chmod(0o500)
    refuse(own, "cannot write to this directory, where every change is recorded")
    own.directory.chmod(0o755)
    for name, file in {"server.crt": "server.crt", "server.key": "server.key"}.items():
        own.cluster.write(name, (own.directory / "current" / file).read_bytes())
    own.cluster.append("postgresql.conf", "log_destination = 'syslog'\n")
    own.cluster.reload()
    refuse(own, "the same certificate before and after, and its log cannot be read here")


def test_without_tls_of_its_own_sessions_that_use_it_stop_it(server: Server, tmp_path: Path) -> None:
    before = texts(server)
    server.settle()
    server.cluster.append("pg_hba.conf", "host all app all trust\n")
    with session(server, tmp_path):
        refuse(server, "Live sessions use TLS, which the server would no longer offer: app@postgres from 127.0.0")
    assert remove(server).changes
    assert texts(server)["postgresql.conf"] == before["postgresql.conf"]
    assert server.cluster.psql("SHOW ssl") == "off"


def test_sessions_that_only_our_rules_let_in_stop_it(own: Server, tmp_path: Path) -> None:
    own.cluster.hba("host all postgres all scram-sha-256")
    own.settle()
    with session(own, tmp_path):
        refuse(own, "The new rules would not let 1 live session.s. in again: app@postgres")


def test_files_of_its_own_that_cannot_be_used_stop_it(own: Server) -> None:
    own.settle()
    key = own.cluster.data / "server.key"
    key.rename(own.cluster.data / "kept.key")
    refuse(own, "Without the settings of this collection .* ssl = on, but its own files cannot be used: ")
    (own.cluster.data / "kept.key").rename(key)
    assert remove(own).changes


def encrypted(server: Server, passphrase: str = "secret") -> None:
    """Give the server's own key a passphrase, which it asks for at its start alone."""
    key = server.cluster.data / "server.key"
    options = ["-aes256", "-passout", f"pass:{passphrase}"]
    text = subprocess.run(["openssl", "pkey", "-in", key, *options], check=True, capture_output=True).stdout
    server.cluster.write("server.key", text)


REMOVALS = [removal.Removal, removal.RuleRemoval]


@pytest.mark.parametrize("kind", REMOVALS)
def test_a_key_of_its_own_that_only_a_start_can_open_stops_the_way_out_at_its_first_step(
    own: Server, kind: type[removal.RuleRemoval]
) -> None:
    own.settle()
    encrypted(own)
    said = f"{own.cluster.data}/server.key has a passphrase, which the server cannot get at a reload: "
    refuse(own, f"{said}ssl_passphrase_command is not set", kind)
    own.cluster.append("postgresql.conf", "ssl_passphrase_command = 'echo secret'\n")
    refuse(own, f"{said}ssl_passphrase_command_supports_reload is off. Nothing was changed", kind)
    own.cluster.append("postgresql.conf", "ssl_passphrase_command_supports_reload = yes\n")
    assert own.converge(kind=kind).changes, "the remedy helps"
    assert remove(own).changes or kind is removal.Removal
    own.restart()


def commanded(server: Server, command: str) -> None:
    """Have the server get the passphrase of its own key by a command, also at a reload."""
    lines = f"ssl = on\nssl_passphrase_command = '{command}'\nssl_passphrase_command_supports_reload = on\n"
    server.cluster.write("postgresql.conf", texts(server)["postgresql.conf"].replace("ssl = on\n", lines, 1))


@pytest.mark.parametrize("kind", REMOVALS)
@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("echo wrong", "server.key has another passphrase than ssl_passphrase_command says, does not belong to"),
        ("echo 100%%; exit 3", "ssl_passphrase_command ended with status 3 as OS user"),
        ("exec /nonexistent", "ssl_passphrase_command ended with status 127 as OS user"),
    ],
)
def test_a_passphrase_that_does_not_open_the_own_key_stops_the_way_out_at_its_first_step(
    own: Server, kind: type[removal.RuleRemoval], command: str, said: str
) -> None:
    commanded(own, command)
    own.settle()
    encrypted(own)
    refuse(own, f"{said}.*Nothing was changed. Correct them, or set ssl = off in {own.cluster.data}/postgresql", kind)


def test_a_key_with_a_passphrase_is_used_again_after_the_way_out(own: Server) -> None:
    prompt = "Enter PEM pass phrase:"
    own.cluster.write("passphrase", b"secret\r\nsecond line\n")  # what is relative starts from the data directory
    commanded(own, f'test "%p 100%%" = "{prompt} 100%%" && cat passphrase')
    own.settle()
    before = own.served()
    encrypted(own)
    for kind in reversed(REMOVALS):
        assert own.converge(kind=kind).changes
    assert own.served() != before
    own.restart()


def test_a_server_that_is_taken_over_is_told_that_the_way_back_is_closed(own: Server) -> None:
    encrypted(own)
    for check_mode in (True, False):
        [told] = [one for one in own.converge(check_mode=check_mode).warnings if "passphrase" in one]
        assert f"The server's own key {own.cluster.data}/server.key has a passphrase" in told
        assert "pgops.tls.remove would stop" in told
        assert (
            f"In {own.cluster.data}/postgresql.conf, set ssl_passphrase_command to a command that does not prompt"
            in told
        )
    own.settle()
    assert not [one for one in own.converge().warnings if "passphrase" in one]


def gone_list(server: Server) -> None:
    server.cluster.append("own.conf", "ssl_crl_file = 'gone.crl'\n")


def gone_authorities(server: Server) -> None:
    (server.cluster.data / "clients.crt").unlink()


def loose_key(server: Server) -> None:
    (server.cluster.data / "server.key").chmod(0o640)


def unknown_curve(server: Server) -> None:
    name = "ssl_groups" if int(server.cluster.psql("SHOW server_version_num")) >= 180000 else "ssl_ecdh_curve"
    server.cluster.append("own.conf", f"{name} = 'no-such-curve'\n")


def other_key(server: Server) -> None:
    text = subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519"], check=True, capture_output=True).stdout
    server.cluster.write("server.key", text)


def locked_file(server: Server) -> None:
    path = server.cluster.data / "postgresql.conf"
    path.chmod(0o644)
    os.chown(path, 0, 0)


MISSING_FILES = {
    gone_list: r"ssl_crl_file: \S+/gone\.crl: expected PEM, found no file",
    gone_authorities: r"ssl_ca_file: \S+/clients\.crt: expected PEM, found no file",
    loose_key: "server.key: owner .*, mode 0640; expected mode 0600",
    unknown_curve: "no-such-curve",
    other_key: "server.key does not belong to",
    locked_file: "postgresql.conf: found owner and group 0:0",
}


@pytest.mark.parametrize("broken", MISSING_FILES)
def test_what_would_fail_the_last_step_is_found_by_the_first(own: Server, broken: Callable[[Server], None]) -> None:
    own.cluster.append("postgresql.conf", "include 'own.conf'\n")
    own.cluster.write("own.conf", "")
    own.settle()
    broken(own)
    for kind in REMOVALS:
        refuse(own, MISSING_FILES[broken], kind)


def test_sessions_that_the_last_step_would_stop_for_are_told_by_the_first(own: Server, tmp_path: Path) -> None:
    own.settle()
    own.cluster.append("pg_hba.conf", "host all app all trust\n")  # so it is not the rules
    with session(own, tmp_path):
        for check_mode in (True, False):
            [told] = own.converge(kind=removal.RuleRemoval, check_mode=check_mode).warnings
            assert told.startswith("The removal would stop when it removes TLS, too. Live sessions have")
    assert own.converge(kind=removal.RuleRemoval).warnings == []


def test_a_file_of_mode_replace_is_left_to_its_owner(own: Server) -> None:
    own.settle(hba_mode="replace")
    refuse(own, "hba_mode replace wrote all of it")
    lines = texts(own)["pg_hba.conf"].split("\n", 1)
    own.cluster.write("pg_hba.conf", lines[1])
    assert remove(own).changes == ["postgresql.conf: without what this collection has added"]
    assert texts(own)["pg_hba.conf"] == lines[1]


def test_no_rule_at_all_is_not_left(own: Server) -> None:
    own.cluster.write("pg_hba.conf", "local all all trust\n")
    own.settle()
    own.cluster.write("pg_hba.conf", texts(own)["pg_hba.conf"].replace("local all all trust\n", ""))
    refuse(own, "no rule would be left in it|would lock out this module's own connection")


def test_what_the_server_refuses_is_put_back(own: Server) -> None:
    commanded(own, f"mkdir {own.cluster.data}/asked && echo secret || echo wrong")  # right for us, not for the server
    own.settle()
    encrypted(own)
    used, served, before = own.used(), own.served(), texts(own)
    with pytest.raises(TlsError, match=r"could not load private key file.*The previous state is restored and proven"):
        remove(own)
    assert texts(own) == before
    assert (own.used(), own.served()) == (used, served)
    own.restart()
    assert own.settle().changes == []


def test_a_run_that_died_is_undone_by_the_next_one_of_either_kind(own: Server) -> None:
    before = texts(own)
    own.settle()
    ours, served = texts(own), own.served()
    for is_first in (True, False):
        with faults.dying():
            remove(own)
        assert texts(own) == before
        if is_first:
            assert own.settle().changes == ["recovery: the transaction of an interrupted run is undone"]
            assert (texts(own), own.served()) == (ours, served)
        else:
            foreseen = remove(own, check_mode=True)
            done = remove(own)
            assert done.changes == foreseen.changes
            assert len(done.changes) == 3
            assert texts(own) == before
    own.restart()
