# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What others do to a client's files between two runs: repaired, or refused with what to do, and then all is well."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from ansible_collections.pgops.tls.plugins.module_utils.client import convergence, target
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.x509 import certificate
from ansible_collections.pgops.tls.tests.clients import OTHER, Clients, User, chains, new_key, with_forged_signature
from ansible_collections.pgops.tls.tests.faults import everything
from ansible_collections.pgops.tls.tests.servers import AUTHORITIES, TODAY, Server, revocation_list

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can make OS users")

Act = Callable[[User], object]


class Repaired(NamedTuple):
    """What somebody did, and the change in which the next run tells of it ('' where there is nothing to change)."""

    act: Act
    told: str


class Refused(NamedTuple):
    """What somebody did, what the next run says, and what is done about it."""

    act: Act
    said: tuple[str, ...]
    remedy: Act


def command(line: str, *, root: bool = False) -> Act:
    """Return an act in the shell of the OS user, or of root, in the directory that libpq looks into."""

    def act(user: User) -> None:
        who = [] if root else ["runuser", "-u", user.name, "--"]
        script = f"cd {user.default} && {line.replace('USER', user.name)}"
        subprocess.run([*who, "sh", "-c", script], check=True, cwd="/")

    return act


def write(path: str, change: Callable[[str], str]) -> Act:
    """Return an act that edits a file below the home and keeps owner and mode."""

    def act(user: User) -> None:
        (user.home / path).write_text(change((user.home / path).read_text()))

    return act


CURRENT = ".postgresql/pgops/current/"
REPAIRED = {
    "another root certificate": Repaired(
        write(CURRENT + "root.crt", lambda _text: OTHER.root.pem), "root.crt holds 'PostgreSQL server root CA"
    ),
    "a root certificate in the place of the link": Repaired(
        command("cp root.crt r; rm root.crt; mv r root.crt"), "root.crt: link to pgops/current/root.crt; what was there"
    ),
    "a link to other files": Repaired(
        command("ln -sfn /etc/ssl/certs/nothing.crt postgresql.crt"), "postgresql.crt: link to pgops/current/app/"
    ),
    "no links": Repaired(command("rm postgresql.crt postgresql.key root.crt"), "postgresql.key: link to pgops/current"),
    "no current generation": Repaired(command("rm -r pgops/generations/0001"), "no_certificate"),
    "no link to a generation": Repaired(command("rm pgops/current"), "no_certificate"),
    "no directory": Repaired(command("rm -r ../.postgresql"), "no_certificate"),
    "a key of another pair": Repaired(
        write(CURRENT + "app/postgresql.key", lambda _text: new_key().decode()), "unusable: "
    ),
    "a leaf without its issuer": Repaired(
        write(CURRENT + "app/postgresql.crt", lambda text: certificate.read_pem(text, "chain")[0].pem),
        "chain_incomplete",
    ),
    "a leaf that nobody signed": Repaired(
        write(CURRENT + "app/postgresql.crt", with_forged_signature),
        "The rehearsed server refuses the handshake: certificate signature failure",
    ),
    "files for everybody": Repaired(command("chmod -R a+rwX ."), "postgresql.key: mode 0666, expected 0600"),
    "a restore with a narrow umask": Repaired(
        command("find . -type f -exec chmod 600 {} +"), "postgresql.crt: mode 0600, expected 0644"
    ),
    "a restore of files as root": Repaired(
        command("find . -type f -exec chown root {} +", root=True), "root.crt: owner 0, expected"
    ),
    "no manifest": Repaired(command("rm pgops/current/manifest.json"), "manifest.json does not describe"),
    "a service that connects without TLS": Repaired(
        write(".pg_service.conf", lambda text: text.replace("verify-full", "disable")), ".pg_service.conf: services app"
    ),
    "services from before us": Repaired(write(".pg_service.conf", lambda _text: "[old]\nhost=db0\n"), "services app"),
    "no service file": Repaired(command("rm ../.pg_service.conf"), ".pg_service.conf: services app"),
    "a link to the generation before": Repaired(command("ln -sfn generations/0001 pgops/current"), ""),
}


REFUSED = {
    "a copy in the place of the link": Refused(
        command("cd pgops && cp -rL current copied && rm current && mv copied current"),
        (
            "pgops/current: expected a symbolic link to a generation, found another kind of file",
            "Rename it. In its place, make a link",
        ),
        command("mv pgops/current pgops/copy && ln -s generations/0001 pgops/current"),
    ),
    "a link elsewhere": Refused(
        command("ln -sfn /srv/old pgops/current"),
        ("pgops/current: expected a link to generations/NNNN, found a link to '/srv/old'", "Point it at"),
        command("ln -sfn generations/0001 pgops/current"),
    ),
    "everything owned by root": Refused(
        command("chown -R root .", root=True),
        (
            ".postgresql: this directory belongs to the user id 0, expected",
            "After a restore as root, restore its owner",
        ),
        command("chown -R USER .", root=True),
    ),
    "a directory that its user cannot enter": Refused(
        command("chmod 000 pgops"), ("pgops: Permission denied",), command("chmod 700 pgops")
    ),
    "half of the marks": Refused(
        command("sed -i '/^# END/d' ../.pg_service.conf"),
        (".pg_service.conf: expected one line '# BEGIN pgops.tls", "Remove what is left of the block by hand"),
        command("rm ../.pg_service.conf"),
    ),
    "a service of our name": Refused(
        command("printf '[app]\\nhost=db0\\n' >> ../.pg_service.conf"),
        ("the service 'app', written by hand, has the name of a service of an identity", "Rename or remove"),
        command("rm ../.pg_service.conf"),
    ),
    "services of root": Refused(
        command("chown root ../.pg_service.conf", root=True),
        (".pg_service.conf: belongs to the user id 0, expected", "restore its owner"),
        command("chown USER ../.pg_service.conf", root=True),
    ),
}


def healthy(clients: Clients, user: User) -> None:
    """Check that all is as after a first run, and that there is nothing to do."""
    result = clients.call()
    assert (result["changes"], result["requests"]) == ([], [])
    current = user.store / "current"
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in current.rglob("*") if path.is_file()}
    assert modes.pop("postgresql.key") == 0o600
    assert set(modes.values()) == {0o644}
    assert {path.owner() for path in [current, *current.rglob("*")]} == {user.name}
    assert (user.default / "root.crt").read_text() == AUTHORITIES["server"].root.pem
    assert {os.readlink(user.default / f"postgresql.{end}") for end in ("crt", "key")} == {
        f"pgops/current/app/postgresql.{end}" for end in ("crt", "key")
    }
    assert "sslmode=verify-full" in user.service_file.read_text()


@pytest.mark.parametrize("name", REPAIRED)
def test_what_somebody_did_is_told_and_repaired(clients: Clients, alice: User, name: str) -> None:
    case = REPAIRED[name]
    clients.converge()
    if not case.told:
        clients.converge(renew=True)
    case.act(alice)
    checked, result = clients.call(check_mode=True), clients.converge()
    if case.told:
        assert [change for change in result["changes"] if case.told in change], result["changes"]
    assert checked["changes"] == result["changes"]
    healthy(clients, alice)


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_repaired_is_named_and_nothing_changes(clients: Clients, alice: User, name: str) -> None:
    case = REFUSED[name]
    clients.converge()
    case.act(alice)
    before = everything(alice.home)
    for check_mode in (True, False):
        with pytest.raises(TlsError) as failure:
            clients.call(check_mode=check_mode, renew=True)
        for part in case.said:
            assert part in failure.value.message
    assert everything(alice.home) == before
    case.remedy(alice)
    clients.converge()
    healthy(clients, alice)


# The home


@pytest.fixture
def moved(alice: User) -> Iterator[User]:
    """Give the OS user with a home that is still to be moved to."""
    home = alice.home.with_name("elsewhere")
    yield User(alice.name, home)
    subprocess.run(["usermod", "--home", alice.home, alice.name], check=True, capture_output=True)
    shutil.rmtree(home, ignore_errors=True)


def test_a_home_that_was_moved_with_its_files_needs_new_paths_and_no_certificate(
    clients: Clients, alice: User, moved: User
) -> None:
    [before] = clients.converge()["identities"]
    alice.home.rename(moved.home)
    subprocess.run(["usermod", "--home", moved.home, alice.name], check=True, capture_output=True)
    result = clients.call()
    assert result["requests"] == []
    assert result["changes"] == [f"{moved.service_file}: services app"]
    assert result["identities"][0]["sha256"] == before["sha256"]
    assert str(alice.home) + "/" not in moved.service_file.read_text()
    healthy(clients, moved)


def test_a_new_home_without_the_files_gets_new_ones_and_the_old_ones_stay(
    clients: Clients, alice: User, moved: User
) -> None:
    clients.converge()
    old = everything(alice.home)
    moved.home.mkdir(mode=0o700)
    shutil.chown(moved.home, alice.name)
    subprocess.run(["usermod", "--home", moved.home, alice.name], check=True, capture_output=True)
    assert clients.converge()["changed"]
    healthy(clients, moved)
    assert everything(alice.home) == old


def test_a_home_that_is_gone_is_named(clients: Clients, alice: User) -> None:
    clients.converge()
    shutil.rmtree(alice.home)
    with pytest.raises(TlsError, match=r"the home directory '.*' of the password database does not exist"):
        clients.call()


# Files at the names that libpq looks for by itself


def test_default_names_that_appear_are_told_once_with_what_they_do_to_other_servers(
    clients: Clients, alice: User, server: Server, server_authority: Any, client_authority: Any
) -> None:
    """A server outside the inventory shows a certificate of another CA."""

    def asks_for_certificates(setting: str) -> None:
        server.cluster.append("postgresql.conf", f"{setting}\n")
        server.cluster.reload()

    def tls(mode: str) -> str:
        line = f"host=localhost hostaddr=127.0.0.1 port={server.cluster.port} sslmode={mode} gssencmode=disable"
        query = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()"
        done = alice.run("psql", "-XAtqw", f"{line} user=app dbname=postgres", "-c", query)
        return (done.stdout + done.stderr).strip()

    server.cluster.serve(*server_authority.issue("own", "serverAuth", "DNS:localhost"), client_authority.root)
    server.cluster.hba("host all app all trust")
    asks_for_certificates("ssl_ca_file = ''")

    assert (tls("prefer"), tls("require")) == ("t", "t")
    with_home = [{**one, "home": str(alice.home)} for one in clients.options["identities"]]
    assert warnings(Clients({**clients.options, "identities": with_home})) == [], "libpq does not look there by itself"
    [warning] = warnings(clients)
    assert warning.startswith(f"{alice.default}: OS user '{alice.name}' gets files at libpq's default names")
    for said in (
        "sslmode=require fails",
        "sslmode=prefer (the default) falls back to plaintext",
        "such servers to roots",
    ):
        assert said in warning
    first = target.read({**clients.options, "certificates": chains(clients.call())}, TODAY)
    assert convergence.converge(first, TODAY, float(TODAY), check_mode=False).warnings == [], "the call before told it"
    assert tls("prefer") == "f"
    assert "certificate verify failed" in tls("require")
    assert warnings(clients) == []
    (alice.default / "root.crt").unlink()
    assert warnings(clients) == [], "it is not the first time"
    clients.options["roots"] += server_authority.root.read_text()
    clients.call()
    assert (tls("prefer"), tls("require")) == ("t", "t"), "what the warning says helps"
    asks_for_certificates("ssl_ca_file = 'clients.crt'")
    assert "unknown ca" in tls("require"), "as the warning says of a server that asks for a certificate"
    assert tls("prefer") != "t", "by protocol and version libpq falls back to plaintext or gives up"


# A list of revoked certificates that libpq reads by itself


def warnings(clients: Clients) -> list[str]:
    wanted = target.read(clients.options, TODAY)
    told = [convergence.converge(wanted, TODAY, float(TODAY), check_mode=mode).warnings for mode in (True, False)]
    assert told[0] == told[1]
    return told[0]


def connects(user: User, server: Server) -> str:
    line = f"service=app host=localhost hostaddr=127.0.0.1 port={server.cluster.port} dbname=postgres"
    done = user.run("psql", "-XAtqw", line, "-c", "SELECT current_user")
    return (done.stdout + done.stderr).strip()


def test_a_list_of_revoked_certificates_that_shuts_out_every_server_is_told(
    clients: Clients, alice: User, managed: Server
) -> None:
    same = {"roots": managed.all_options()["roots"]}
    clients.options.update(same)
    clients.converge()
    trusted = AUTHORITIES["client"].issuing.pem + AUTHORITIES["client"].root.pem
    managed.settle(trusted_clients=trusted)
    assert connects(alice, managed) == "app"
    alice.write(".postgresql/root.crl", revocation_list(OTHER))
    assert "certificate verify failed" in connects(alice, managed)
    [warning] = warnings(clients)
    assert str(alice.default / "root.crl") in warning
    assert "Add that list. Or rename this file" in warning
    assert (alice.default / "root.crl").exists()
    (alice.default / "root.crl").unlink()
    assert warnings(clients) == []


def test_a_list_of_our_own_authorities_and_what_is_no_file_are_nobodys_fault(clients: Clients, alice: User) -> None:
    clients.converge()
    root: Any = AUTHORITIES["server"]
    alice.write(".postgresql/root.crl", revocation_list(root, of_root=True))
    assert warnings(clients) == []
    Path(alice.default / "root.crl").unlink()
    (alice.default / "root.crl").mkdir()
    assert warnings(clients) == []
