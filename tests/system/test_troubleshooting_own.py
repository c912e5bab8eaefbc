# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every message of the collection that the troubleshooting page quotes, provoked on a real server."""

from __future__ import annotations

import fcntl
import itertools
import os
import socket
import subprocess
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.pgops.tls.plugins.module_utils.authority import keeping, ledger, planning, profiles, signing
from ansible_collections.pgops.tls.plugins.module_utils.client import convergence
from ansible_collections.pgops.tls.plugins.module_utils.client import target as client_target
from ansible_collections.pgops.tls.plugins.module_utils.core import clock, files, obstacles
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.pgbouncer import lockout
from ansible_collections.pgops.tls.plugins.module_utils.postgres import wire
from ansible_collections.pgops.tls.plugins.module_utils.server import convergence as of_server
from ansible_collections.pgops.tls.plugins.module_utils.server import target, transaction
from ansible_collections.pgops.tls.plugins.module_utils.verification import checks, expectation, libpq, report
from ansible_collections.pgops.tls.plugins.plugin_utils import gaps, option_names, server_names, traces
from ansible_collections.pgops.tls.tests import clients as client_side
from ansible_collections.pgops.tls.tests import leaving
from ansible_collections.pgops.tls.tests.clients import Clients, User
from ansible_collections.pgops.tls.tests.faults import dying
from ansible_collections.pgops.tls.tests.servers import AUTHORITIES, HBA, TODAY, Server, lists, revocation_list, sign
from ansible_collections.pgops.tls.tests.system.test_server_journal import killed_after
from ansible_collections.pgops.tls.tests.troubleshooting import OURS, Heard, Provocations, check, symptoms

QUOTES_OF_OURS = {
    title: quotes for title, quotes in symptoms().items() if any(quote.source == OURS for quote in quotes)
}
PROVOKED_OF_OURS = Provocations(leaving.PROVOKED_BY_LEAVING)


class Fleet(Heard):
    """A managed server, an OS user, and what is needed to let the collection fail on them."""

    server: Server
    clients: Clients
    alice: User
    folder: Path
    patch: pytest.MonkeyPatch

    def _names(self) -> list[tuple[str, str]]:
        return [(str(self.folder), "/home/ops/inventory"), *super()._names()]

    def hear(self, action: Callable[[], object]) -> None:
        """Note the message that an action fails with."""
        with pytest.raises(TlsError) as failure:
            action()
        self.heard[OURS] += failure.value.message + "\n"

    def heed(self, warnings: list[str]) -> None:
        """Note the warnings of a run."""
        self.heard[OURS] += "\n".join([*warnings, ""])

    def interrupt(self) -> None:
        """Let a run with other rules die in the middle."""
        with dying():
            self.server.converge(hba="# another\n" + HBA)


@pytest.fixture
def fleet(server: Server, clients: Clients, alice: User, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fleet:
    made = Fleet(server.cluster, alice.name, alice.home)
    made.server, made.clients, made.alice, made.folder, made.patch = server, clients, alice, tmp_path, monkeypatch
    server.options["names"] = ["localhost", "127.0.0.1"]
    server.settle()
    for place, name, role in (
        (of_server, "converge", "postgres_server"),
        (convergence, "converge", "postgres_client"),
        (keeping, "keep", "postgres_ca"),
    ):
        monkeypatch.setattr(place, name, for_role(role, getattr(place, name)))
    return made


def for_role(role: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function with messages as a role's user gets them, and the page quotes them."""

    def called(*arguments: Any, **options: Any) -> Any:
        with option_names.named(role):
            return function(*arguments, **options)

    return called


def test_every_message_of_ours_on_the_page_is_provoked_and_every_provocation_is_on_the_page() -> None:
    assert sorted(QUOTES_OF_OURS) == sorted(PROVOKED_OF_OURS)


@pytest.mark.sampled(3)
@pytest.mark.parametrize("title", PROVOKED_OF_OURS)
def test_the_messages_of_ours_are_as_quoted(fleet: Fleet, title: str) -> None:
    major = int(fleet.cluster.psql("SHOW server_version_num")) // 10000
    PROVOKED_OF_OURS[title](fleet)
    check(fleet, QUOTES_OF_OURS[title], major)


@PROVOKED_OF_OURS.of("is a name of each of these ... servers")
def _is_a_name_of_each_of_these_servers(fleet: Fleet) -> None:
    own = [server_names.parse({"name": "shop-db.example.com", "port": 5432}, "names")]
    fleet.heed(server_names.problems({"db1": own, "db2": own}, ["db1", "db2"]))


@PROVOKED_OF_OURS.of("Not verified, because all connections to these servers were skipped")
def _not_verified_because_all_connections_to_these(fleet: Fleet) -> None:
    checks = [{"status": status, "servers": [name]} for name, status in (("db1", "ok"), ("db2", "skipped"))]
    fleet.heed(gaps.unreached({"app1": {"postgres_verify_result": {"checks": checks}}}, {"postgres_clients": ["app1"]}))


@PROVOKED_OF_OURS.of("another run has held the lock of this directory")
def _another_run_has_held_the_lock_of_this_directory(fleet: Fleet) -> None:
    ticks = itertools.count(0, 30)
    clock = types.SimpleNamespace(monotonic=lambda: next(ticks), sleep=lambda _seconds: None)
    fleet.patch.setattr(files, "time", clock)
    fleet.patch.setattr(files, "_holder", lambda _descriptor: ": process 4711 (python3)")
    held = os.open(fleet.server.directory, os.O_RDONLY)
    fcntl.flock(held, fcntl.LOCK_EX)
    fleet.hear(fleet.server.converge)
    os.close(held)


@PROVOKED_OF_OURS.of("belongs to user id ...; expected a directory of OS user")
def _belongs_to_user_id_expected_a_directory_of_os(fleet: Fleet) -> None:
    os.chown(fleet.server.directory, 0, 0)
    fleet.hear(fleet.server.converge)
    (fleet.alice.home / ".postgresql").mkdir()
    fleet.hear(fleet.clients.call)


@PROVOKED_OF_OURS.of("found owner and group ..., which OS user ... could not give to the changed file")
def _found_owner_and_group_which_os_user_could_not(fleet: Fleet) -> None:
    os.chown(fleet.cluster.data / "pg_hba.conf", 0, 0)
    (fleet.cluster.data / "pg_hba.conf").chmod(0o644)
    fleet.hear(lambda: fleet.server.converge(hba="# another\n" + HBA))


@PROVOKED_OF_OURS.of("live session(s) use no TLS and could not connect again")
def _live_session_s_use_no_tls_and_could_not(fleet: Fleet) -> None:
    fleet.server.settle(plaintext="allow", hba="host all app all trust\n")
    with wire.connected(wire.Endpoint("127.0.0.1", fleet.cluster.port)) as connection:
        assert wire.log_in(connection, "app", "postgres") == "in"
        fleet.hear(fleet.server.converge)


@PROVOKED_OF_OURS.of("The new rules would not let live session(s) in again")
def _the_new_rules_would_not_let_live_session_s_in(fleet: Fleet) -> None:
    fleet.server.settle(hba="hostssl all app all trust\n" + HBA)
    with wire.encrypted(wire.Endpoint("127.0.0.1", fleet.cluster.port)) as connection:
        assert wire.log_in(connection, "app", "postgres") == "in"
        fleet.hear(lambda: fleet.server.converge(hba="hostssl all app all reject\n" + HBA))


@PROVOKED_OF_OURS.of("No rule of pg_hba.conf accepts the certificates of these roles")
def _no_rule_takes_the_certificates_of_these_roles(fleet: Fleet) -> None:
    rules = HBA.replace("all app all cert", "all other all cert")
    fleet.hear(lambda: fleet.server.converge(hba_mode="replace", hba=rules, clients=[{"role": "app"}]))


@PROVOKED_OF_OURS.of("live connections use no TLS and could not connect again")
def _live_connections_use_no_tls(fleet: Fleet) -> None:
    """As ``test_pgbouncer_lockout.py`` shows with a real PgBouncer, which need not be installed here."""
    rows = [{"user": "app", "database": "shop", "addr": "192.0.2.10", "tls": ""}]
    console: Any = types.SimpleNamespace(rows=lambda _command: rows)
    refuse = for_role("postgres_pooler", lockout.refuse_plaintext)
    fleet.hear(lambda: refuse(console, "disable", "require"))


@PROVOKED_OF_OURS.of("The new rules would lock out this module's own connection")
def _the_new_rules_would_lock_out_this_module(fleet: Fleet) -> None:
    fleet.cluster.write("pg_hba.conf", "local all all reject\n")
    fleet.hear(fleet.server.converge)


@PROVOKED_OF_OURS.of("Settings are overridden outside the files of this collection")
def _settings_are_overridden_outside_the_files_of(fleet: Fleet) -> None:
    fleet.cluster.psql("ALTER SYSTEM SET ssl_min_protocol_version = 'TLSv1.3'")
    fleet.cluster.reload()
    fleet.server.ssl = {"ssl_min_protocol_version": "TLSv1.2"}
    fleet.hear(fleet.server.converge)


@PROVOKED_OF_OURS.of("The clock of this host is ... s behind the controller's")
def _the_clock_of_this_host_is_s_behind_the(fleet: Fleet) -> None:
    login = of_server.Login(fleet.cluster.port, fleet.cluster.socket_directory, None)
    wanted = target.read(fleet.server.all_options())
    fleet.hear(lambda: of_server.converge(wanted, login, TODAY, TODAY + 3600.0, check_mode=False))


@PROVOKED_OF_OURS.of("the authority did not issue what was asked for")
def _the_authority_did_not_issue_what_was_asked(fleet: Fleet) -> None:
    request = fleet.server.converge(renew=True).request
    assert request is not None
    fleet.hear(lambda: fleet.server.converge(renew=True, certificate=sign(request, ["db9.example.com"])))


@PROVOKED_OF_OURS.of("No PostgreSQL server was found on port")
def _no_postgresql_server_was_found_on_port(fleet: Fleet) -> None:
    fleet.cluster.stop()
    login = of_server.Login(fleet.cluster.port, None, None)
    wanted = target.read(fleet.server.all_options())
    fleet.hear(lambda: of_server.converge(wanted, login, TODAY, float(TODAY), check_mode=False))
    with socket.create_server(("127.0.0.1", fleet.cluster.port)):
        fleet.hear(lambda: of_server.converge(wanted, login, TODAY, float(TODAY), check_mode=False))


@PROVOKED_OF_OURS.of("It runs in a chroot or a container")
def _it_runs_in_a_chroot_or_a_container(fleet: Fleet) -> None:
    lock = fleet.cluster.home / f".s.PGSQL.{fleet.cluster.port}.lock"
    lock.write_text(f"1\n{fleet.cluster.data}\n")
    fleet.hear(fleet.server.converge)


@PROVOKED_OF_OURS.of("would not start again")
def _would_not_start_again(fleet: Fleet) -> None:
    fleet.cluster.append("pg_hba.conf", "hostssl all all 192.0.2.0/24 scram\n")
    text = (fleet.cluster.data / "postgresql.conf").read_text()
    fleet.cluster.write("postgresql.conf", "nonsense\n" + text)
    fleet.heed(fleet.server.converge().warnings)


@PROVOKED_OF_OURS.of("would be accepted again")
def _would_get_in_again(fleet: Fleet) -> None:
    _take_over(fleet, "client")
    fleet.hear(fleet.server.converge)


@PROVOKED_OF_OURS.of("can no longer log in")
def _can_no_longer_log_in(fleet: Fleet) -> None:
    _take_over(fleet, "server")
    fleet.heed(fleet.server.converge(check_mode=True).warnings)


def _take_over(fleet: Fleet, authority: str) -> None:
    """Let the server trust one of the authorities, and heed its list of revoked certificates."""
    path = fleet.cluster.write("revoked.crl", revocation_list(AUTHORITIES[authority]))
    fleet.cluster.write("clients.crt", AUTHORITIES[authority].root.pem)
    fleet.cluster.append("postgresql.conf", f"ssl_ca_file = 'clients.crt'\nssl_crl_file = '{path}'\n")


@PROVOKED_OF_OURS.of("gets lists of revoked certificates at libpq's default name")
def _gets_lists_of_revoked_certificates(fleet: Fleet) -> None:
    fleet.clients.options["roots"] = AUTHORITIES["server"].root.pem
    fleet.clients.converge()
    wanted = client_target.read({**fleet.clients.options, "crls": lists("server")}, TODAY)
    fleet.heed(convergence.converge(wanted, TODAY, float(TODAY), check_mode=True).warnings)


@PROVOKED_OF_OURS.of("libpq always reads this list of revoked certificates")
def _libpq_reads_this_list_of_revoked_certificates(fleet: Fleet) -> None:
    fleet.clients.converge()
    fleet.alice.write(".postgresql/root.crl", revocation_list(AUTHORITIES["client"]))
    wanted = client_target.read(fleet.clients.options, TODAY)
    fleet.heed(convergence.converge(wanted, TODAY, float(TODAY), check_mode=True).warnings)


@PROVOKED_OF_OURS.of("psql as OS user ... failed")
def _psql_as_os_user_failed(fleet: Fleet) -> None:
    fleet.cluster.write("pg_hba.conf", "local all all reject\n")
    os.kill(int((fleet.cluster.data / "postmaster.pid").read_text().split("\n", 1)[0]), 1)
    for _attempt in range(1000):
        if fleet.cluster.log().count("received SIGHUP") > 2:
            break
    fleet.hear(fleet.server.converge)


@PROVOKED_OF_OURS.of("is no superuser; settings, rules and reloads need one")
def _is_no_superuser_settings_rules_and_reloads(fleet: Fleet) -> None:
    fleet.server.role = "app"
    fleet.hear(fleet.server.converge)


@PROVOKED_OF_OURS.of("The server did not take the new TLS files. It says")
def _the_server_did_not_take_the_new_tls_files_it(fleet: Fleet) -> None:
    rehearse = transaction.rehearsal.rehearse

    def spoil(wanted: Any, directory: str, *arguments: Any) -> None:
        rehearse(wanted, directory, *arguments)
        os.chmod(os.path.join(directory, "server.key"), 0o644)

    fleet.patch.setattr(transaction.rehearsal, "rehearse", spoil)
    fleet.hear(lambda: fleet.server.settle(renew=True))


@PROVOKED_OF_OURS.of("The server would not load new rules because of")
def _the_server_would_not_load_new_rules_because(fleet: Fleet) -> None:
    fleet.cluster.append("pg_hba.conf", "hostssl all all 192.0.2.0/24 scram\n")
    fleet.hear(lambda: fleet.server.converge(hba="# another\n" + HBA))


@PROVOKED_OF_OURS.of("The server would apply nothing at a reload because of")
def _the_server_would_take_nothing_of_a_reload(fleet: Fleet) -> None:
    fleet.cluster.append("postgresql.conf", "no_such_setting = on\n")
    fleet.server.ssl = {"ssl_min_protocol_version": "TLSv1.3"}
    fleet.hear(fleet.server.converge)


@PROVOKED_OF_OURS.of("lets connections without TLS in, but postgres_server_plaintext is reject")
def _lets_connections_without_tls_in_but_postgres(fleet: Fleet) -> None:
    fleet.hear(lambda: fleet.server.converge(hba="host all all all scram-sha-256\n"))


@PROVOKED_OF_OURS.of("a run that was interrupted had changed this file, and somebody changed it since")
def _a_run_that_was_interrupted_had_changed_this(fleet: Fleet) -> None:
    fleet.interrupt()
    fleet.cluster.append("pg_hba.conf", "# a note\n")
    fleet.hear(fleet.server.converge)


@PROVOKED_OF_OURS.of("expected the journal of an interrupted run")
def _expected_the_journal_of_an_interrupted_run(fleet: Fleet) -> None:
    path = fleet.server.directory / "journal.json"
    path.write_text("damaged", encoding="utf-8")
    fleet.heed(fleet.server.converge().warnings)
    killed_after("switch", fleet.server, renew=True)
    path.write_text("damaged", encoding="utf-8")
    fleet.hear(fleet.server.converge)


@PROVOKED_OF_OURS.of("expected a link to generations/NNNN, found a link to")
def _expected_a_link_to_generations_nnnn_found_a(fleet: Fleet) -> None:
    link = fleet.server.directory / "current"
    link.unlink()
    link.symlink_to("/srv/old-certificates")
    fleet.hear(fleet.server.converge)


@PROVOKED_OF_OURS.of("there is no OS user ... on this host")
def _there_is_no_os_user_on_this_host(fleet: Fleet) -> None:
    fleet.hear(lambda: fleet.clients.call(identities=[{"role": "app", "os_user": "shopp"}]))


@PROVOKED_OF_OURS.of("the private key cannot be read: the passphrase is wrong, or the file is damaged")
def _the_private_key_cannot_be_read_the_passphrase(fleet: Fleet) -> None:
    wish = keeping.Wish(str(fleet.folder / "postgres-ca"), "P-256", "correct horse")
    keeping.keep(wish, TODAY, is_dry=False)
    fleet.hear(lambda: keeping.keep(wish._replace(passphrase="battery staple"), TODAY, is_dry=False))


@PROVOKED_OF_OURS.of("this file of the authority is missing")
def _this_file_of_the_authority_is_missing(fleet: Fleet) -> None:
    wish = keeping.Wish(str(fleet.folder / "postgres-ca"), "P-256", None)
    keeping.keep(wish, TODAY, is_dry=False)
    (fleet.folder / "postgres-ca" / "server" / "0001" / "issuing.key").unlink()
    fleet.hear(lambda: keeping.keep(wish, TODAY, is_dry=False))


@PROVOKED_OF_OURS.of("for which the key of its root is needed")
def _for_which_the_key_of_its_root_is_needed(fleet: Fleet) -> None:
    directory = fleet.folder / "postgres-ca"
    wish = keeping.Wish(str(directory), "P-256", None, "90d")
    keeping.keep(wish, TODAY, is_dry=False)
    (directory / "server" / "0001" / "root.key").unlink()
    fleet.heed(keeping.keep(wish, TODAY + profiles.ISSUING_LIFE * 19 // 20, is_dry=False).warnings)


@PROVOKED_OF_OURS.of("An authority keeps its keys for life")
def _an_authority_keeps_its_keys_for_life(fleet: Fleet) -> None:
    wish = keeping.Wish(str(fleet.folder / "postgres-ca"), "P-256", None)
    keeping.keep(wish, TODAY, is_dry=False)
    fleet.hear(lambda: keeping.keep(wish._replace(key_type="P-384"), TODAY, is_dry=False))


@PROVOKED_OF_OURS.of("comes first. Nothing was changed")
def _comes_first_nothing_was_changed(fleet: Fleet) -> None:
    wish = keeping.Wish(str(fleet.folder / "postgres-ca"), "P-256", None)
    keeping.keep(wish, TODAY, is_dry=False)
    change = planning.Change("switch", rotate=["server"])
    fleet.hear(lambda: keeping.keep(wish._replace(change=change), TODAY, is_dry=False))


@PROVOKED_OF_OURS.of("phase: retire needs an answer")
def _phase_retire_needs_an_answer(fleet: Fleet) -> None:
    wish = keeping.Wish(str(fleet.folder / "postgres-ca"), "P-256", None)
    keeping.keep(wish, TODAY, is_dry=False)
    for phase in ("stage", "switch"):
        keeping.keep(wish._replace(change=planning.Change(phase, rotate=["client"])), TODAY, is_dry=False)
    change = planning.Change("retire", rotate=["client"])
    fleet.hear(lambda: keeping.keep(wish._replace(change=change), TODAY, is_dry=False))


@PROVOKED_OF_OURS.of("has no certificate in ledger.jsonl")
def _has_no_certificate_in_the_ledger(fleet: Fleet) -> None:
    wish = keeping.Wish(str(fleet.folder / "postgres-ca"), "P-256", None)
    keeping.keep(wish, TODAY, is_dry=False)
    holder = {"authority": "server", "id": "pooler2.example.com", "until": "2999-12-31", "by": "dba team"}
    change = planning.Change("stage", rotate=["server"], outside=[holder])
    fleet.hear(lambda: keeping.keep(wish._replace(change=change), TODAY, is_dry=False))


@PROVOKED_OF_OURS.of("expired on")
def _expired_on(fleet: Fleet) -> None:
    wish = keeping.Wish(str(fleet.folder / "postgres-ca"), "P-256", None)
    keeping.keep(wish, TODAY, is_dry=False)
    fleet.hear(lambda: keeping.keep(wish, TODAY + profiles.ROOT_LIFE, is_dry=False))


@PROVOKED_OF_OURS.of("which is trusted. Every certificate that it issued would be refused")
def _which_is_trusted_every_certificate(fleet: Fleet) -> None:
    fleet.server.options.update(crls=lists("client"), extra_trusted_clients=client_side.OTHER.root.pem)
    fleet.hear(fleet.server.converge)


@PROVOKED_OF_OURS.of("so there is nothing to revoke")
def _so_there_is_nothing_to_revoke(fleet: Fleet) -> None:
    wish = keeping.Wish(str(fleet.folder / "postgres-ca"), "P-256", None, revoked=[{"role": "shopp"}])
    fleet.hear(lambda: keeping.keep(wish, TODAY, is_dry=False))


@PROVOKED_OF_OURS.of("so revoked certificates would be accepted again")
def _so_revoked_certificates_would_be_accepted_again(fleet: Fleet) -> None:
    directory = fleet.folder / "postgres-ca"

    def keep(*revoked: dict[str, str]) -> keeping.KeepingResult:
        return keeping.keep(keeping.Wish(str(directory), "P-256", None, revoked=revoked), TODAY, is_dry=False)

    issuer = keep().authorities["client"].issuing.subject_key_id
    issued = {"serial": "2c5ac6f1", "authority": "client", "id": "app1/shop/app", "subject": "app", "issuer": issuer}
    ledger.append(str(directory), [{**issued, "not_after": clock.instant(TODAY + 86400)}])
    keep({"role": "app"})
    (directory / ledger.REVOKED).unlink()
    fleet.hear(keep)


@PROVOKED_OF_OURS.of("but the new lists do not")
def _but_the_new_lists_do_not(fleet: Fleet) -> None:
    fleet.server.options["crls"] = lists("client", 0x2C5AC6F1)
    fleet.server.settle()
    fleet.server.options["crls"] = lists("client")
    fleet.hear(fleet.server.converge)


@PROVOKED_OF_OURS.of("did not hold certificates that are in use")
def _did_not_hold_certificates_that_are_in_use(fleet: Fleet) -> None:
    directory = fleet.folder / "postgres-ca"
    wish = keeping.Wish(str(directory), "P-256", None)
    keeping.keep(wish, TODAY, is_dry=False)
    command = ["openssl", "req", "-new", "-newkey", "rsa:2048", "-nodes", "-keyout", "/dev/null", "-subj", "/"]
    csr = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    requests = [{"id": "app1/shop/app", "csr": csr, "role": "app"}]
    signed = signing.sign(signing.Order(str(directory), None, "client", requests, "90d"), TODAY, is_dry=False)
    (directory / ledger.FILE).unlink()
    shown = {"client": [{"id": id_, "certificate": chain} for id_, chain in signed.certificates.items()]}
    fleet.heed(keeping.keep(wish._replace(unrecorded=shown), TODAY, is_dry=False).warnings)


@PROVOKED_OF_OURS.of("was set up as host ... of the inventory")
def _was_set_up_as_host(fleet: Fleet) -> None:
    fleet.server.settle(host="db1", renew=True)
    fleet.hear(lambda: fleet.server.converge(host="pg1"))


@PROVOKED_OF_OURS.of("there are no authorities in ..., but hosts have TLS")
def _there_are_no_authorities_but_hosts_have_tls(fleet: Fleet) -> None:
    answer = {"item": ["db1", str(fleet.server.directory)], "stat": {"exists": True}}
    fleet.heed([traces.refusal([answer], "/srv/postgres-ca", "localhost")])


@PROVOKED_OF_OURS.of("Its key is not here to make a new one")
def _its_key_is_not_here_to_make_a_new_one(fleet: Fleet) -> None:
    directory = fleet.folder / "postgres-ca"
    keeping.keep(keeping.Wish(str(directory), "P-256", None), TODAY, is_dry=False)
    (directory / "revoked.jsonl").touch()
    (directory / "client" / "0001" / "root.key").unlink()
    late = TODAY + profiles.ROOT_LIST_LIFE - 86400
    fleet.hear(lambda: keeping.keep(keeping.Wish(str(directory), "P-256", None), late, is_dry=False))


@PROVOKED_OF_OURS.of("so this cannot be written")
def _cannot_be_written(fleet: Fleet) -> None:
    with pytest.MonkeyPatch.context() as patch:  # really: tests/system/playbooks/test_platforms.py
        patch.setattr(obstacles, "_attributes", lambda _path: ["i"])
        fleet.hear(lambda: fleet.server.converge(hba="# another\n" + HBA))
    flags = types.SimpleNamespace(f_flag=os.ST_RDONLY)
    fleet.patch.setattr(obstacles.os, "statvfs", lambda _path: flags)
    fleet.hear(fleet.clients.converge)


@PROVOKED_OF_OURS.of("was refused, but the connection that must work failed too")
def _was_refused_but_the_connection_that_must(fleet: Fleet) -> None:
    _verify(fleet, "host all all all reject")


@PROVOKED_OF_OURS.of("was accepted (without TLS)")
def _was_accepted_without_tls(fleet: Fleet) -> None:
    _verify(fleet, "host all all all trust")


@PROVOKED_OF_OURS.of("was accepted by another server than")
def _was_accepted_by_another_server(fleet: Fleet) -> None:
    _verify(
        fleet,
        "hostssl all all all cert",
        certificates=[{"server": "db1", "serial": "77", "names": ["db1.example.com"]}],
    )


@PROVOKED_OF_OURS.of("The server asks for a password, and did not show that it requires a certificate")
def _asks_for_a_password_alone(fleet: Fleet) -> None:
    _verify(fleet, "hostssl all all all scram-sha-256", asks_for_password=True)


def _verify(fleet: Fleet, rule: str, **given: Any) -> None:
    """Note what the verification says of a connection of role app and of one without TLS, under a rule."""
    authority = AUTHORITIES["client"]
    fleet.server.converge(trusted_clients=authority.issuing.pem + authority.root.pem)
    fleet.clients.converge(roots=AUTHORITIES["server"].root.pem)
    fleet.cluster.hba(rule)
    fleet.cluster.reload()
    common = {"host": "localhost", "hostaddr": "127.0.0.1", "port": fleet.cluster.port}
    common |= {"role": "app", "os_user": fleet.alice.name, **given}
    common |= {"database": "postgres", "files": "named", "sslmode": "verify-full", "certificate": "own"}
    items = ({**common, "expect": "accepted"}, {**common, "expect": "refused", "kind": "plaintext"})
    expected = [expectation.read(item, "expectation") for item in items]
    for one in checks.verify(expected, libpq.load(), 10):
        fleet.heard[OURS] += f"{report.as_result(one)['reason']}\n"
