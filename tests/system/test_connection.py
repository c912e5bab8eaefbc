# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module connection_info against a real server: what has to work, what has to be refused, and that each can fail."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.verification import checks, expectation, report
from ansible_collections.pgops.tls.plugins.module_utils.verification.refusal_messages import REFUSALS
from ansible_collections.pgops.tls.tests.checkers import DEFAULTS, Checker

# Those that need neither another role nor another server
REFUSAL_KINDS = [kind for kind in REFUSALS if kind not in ("another_role", "another_authority")]


@pytest.fixture
def client(client: Any, monkeypatch: pytest.MonkeyPatch) -> Checker:
    """Return the client of a server that wants certificates; temporary files go to its home."""
    monkeypatch.setattr(tempfile, "tempdir", str(client.home))
    return Checker(client)


def leftovers(client: Checker) -> list[Path]:
    return list(client.home.glob("pgops-tls-foreign-*"))


def test_a_connection_by_every_name_is_accepted_and_shown_by_the_server(client: Checker) -> None:
    found = client.verify(client.expect(), client.expect(host="127.0.0.1"))
    can_verify_addresses = client.library.major >= 15
    assert [one["status"] for one in found] == ["ok", "ok" if can_verify_addresses else "skipped"]
    assert found[0]["protocol"] == "TLSv1.3"
    assert found[0]["cipher"].startswith("TLS_")
    assert found[0]["client_dn"] == "/CN=app"


def test_the_group_of_the_key_exchange_is_what_libpq_agreed_on(client: Checker) -> None:
    tells = client.library.functions.OpenSSL_version_num() >= 0x30000000
    is_list = int(client.cluster.psql("SHOW server_version_num")) >= 180000
    wanted = {"secp384r1": "secp384r1"}
    if is_list and client.library.functions.OpenSSL_version_num() >= 0x30500000:
        wanted["X25519MLKEM768:X25519"] = "X25519MLKEM768"
    for setting, group in wanted.items():
        name = "ssl_groups" if is_list else "ssl_ecdh_curve"
        client.cluster.append("postgresql.conf", f"{name} = '{setting}'\n")
        client.cluster.reload()
        (found,) = client.verify(client.expect())
        assert (found["status"], found["group"]) == ("ok", group if tells else "")
    _accepted, refused = client.verify(client.expect(), client.refuse("plaintext"))
    assert refused["group"] == ""


def test_every_kind_is_refused_for_its_reason(client: Checker) -> None:
    kinds = [client.refuse(kind) for kind in REFUSAL_KINDS]
    found = client.verify(client.expect(), *kinds, client.refuse("another_role", role="other", certificate_role="app"))
    assert [one["status"] for one in found] == ["ok"] * (len(REFUSAL_KINDS) + 2), report.table(
        {"here": {"checks": found}}
    )
    reasons = {one["wanted"]: one["reason"] for one in found}
    assert reasons["refused: plaintext"] == "a rule rejects plaintext"
    assert reasons["refused: no client certificate"] == "the server asked for a client certificate"
    assert reasons["refused: another role's certificate (app)"] == "the certificate is another role's"
    assert reasons["refused: wrong host name"] == "the server's certificate has other names"
    assert reasons["refused: foreign root at the client"] == "the client does not trust the server"
    assert leftovers(client) == []


def test_plaintext_that_is_accepted_is_a_deviation(client: Checker) -> None:
    client.cluster.hba("hostssl all all all cert", "host all all all trust")
    client.cluster.reload()
    found = client.outcome("plaintext")
    assert (found["status"], found["reason"]) == ("deviation", "was accepted (without TLS)")


def test_plaintext_that_is_asked_for_a_password_is_a_deviation(client: Checker) -> None:
    client.cluster.hba("hostssl all all all cert", "host all all all scram-sha-256")
    client.cluster.reload()
    found = client.outcome("plaintext")
    assert found["status"] == "deviation"
    assert "no password supplied" in found["reason"]


def test_a_missing_certificate_that_is_accepted_is_a_deviation(client: Checker) -> None:
    client.cluster.hba("hostssl all all all trust")
    client.cluster.reload()
    found = client.outcome("no_certificate")
    assert found["status"] == "deviation"
    assert found["reason"].startswith("was accepted (TLSv1.3 ")


def test_another_roles_certificate_that_is_accepted_is_a_deviation(client: Checker) -> None:
    client.cluster.hba("hostssl all all all trust clientcert=verify-ca")
    client.cluster.reload()
    found = client.outcome("another_role", role="other", certificate_role="app")
    assert (found["status"], found["client_dn"]) == ("deviation", "/CN=app")


def test_another_role_that_does_not_exist_is_a_deviation_when_only_that_stops_it(client: Checker) -> None:
    client.cluster.hba("hostssl all all all trust clientcert=verify-ca")
    client.cluster.reload()
    found = client.outcome("another_role", role="ghost", certificate_role="app")
    assert found["status"] == "deviation"
    assert 'role "ghost" does not exist' in found["reason"]


def test_another_role_is_refused_when_no_rule_is_for_it(client: Checker) -> None:
    client.cluster.hba("hostssl all app all cert")
    client.cluster.reload()
    found = client.outcome("another_role", role="other", certificate_role="app")
    assert (found["status"], found["reason"]) == ("ok", "no rule for that role")


def test_another_role_is_refused_when_its_password_is_asked_for(client: Checker) -> None:
    client.cluster.hba("hostssl all app all cert", "host all all all scram-sha-256")
    client.cluster.reload()
    found = client.outcome("another_role", role="other", certificate_role="app")
    assert (found["status"], found["reason"]) == ("ok", "the server asks for that role's password")


def test_another_role_is_refused_by_verify_full_beside_another_method(client: Checker) -> None:
    client.cluster.hba("hostssl all all all trust clientcert=verify-full")
    client.cluster.reload()
    found = client.outcome("another_role", role="other", certificate_role="app")
    assert (found["status"], found["reason"]) == ("ok", "the certificate is another role's")


@pytest.fixture
def known_foreigner(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Make the next foreign authority the one whose root is at this path, so that somebody can trust it."""
    kept = Path(tempfile.mkdtemp(prefix="pgtls-foreign-"))
    made = checks.untrusted_ca.foreign_authority
    with contextlib.ExitStack() as stack:
        stack.callback(shutil.rmtree, kept)
        authority = stack.enter_context(made(checks.processes.account("root", "test"), "app"))
        (kept / "root.crt").write_bytes(Path(authority.certificate).read_bytes())

        @contextlib.contextmanager
        def same(reader: Any, _roles: Any) -> Iterator[Any]:
            checks.untrusted_ca._give(authority.directory, reader)
            yield authority

        monkeypatch.setattr(checks.untrusted_ca, "foreign_authority", same)
        yield kept / "root.crt"


def test_a_foreign_certificate_that_is_accepted_is_a_deviation(client: Checker, known_foreigner: Path) -> None:
    both = (client.cluster.data / "clients.crt").read_bytes() + known_foreigner.read_bytes()
    client.cluster.write("clients.crt", both)
    client.cluster.reload()
    found = client.outcome("foreign_certificate")
    assert (found["status"], found["client_dn"]) == ("deviation", "/CN=app")


@pytest.mark.usefixtures("known_foreigner")
def test_a_foreign_root_that_fits_is_a_deviation(client: Checker, server_authority: Any) -> None:
    account = checks.processes.account(client.name, "test")
    with checks.untrusted_ca.foreign_authority(account, "app") as foreigner:
        shutil.copy(server_authority.root, foreigner.certificate)
    found = client.outcome("foreign_root")
    assert (found["status"], found["client_dn"]) == ("deviation", "/CN=app")


def test_a_wrong_name_that_fits_is_a_deviation(client: Checker, server_authority: Any) -> None:
    names = "DNS:localhost,DNS:pgops-wrong-name.invalid"
    client.cluster.serve(*server_authority.issue("lax", "serverAuth", names), client.cluster.data / "clients.crt")
    found = client.outcome("wrong_name")
    assert found["status"] == "deviation"


def test_a_refusal_is_unproven_when_the_right_connection_fails_too(client: Checker) -> None:
    client.cluster.hba("host all all all reject")
    client.cluster.reload()
    proof, found = client.verify(client.expect(), client.refuse("plaintext"))
    assert proof["status"] == "deviation"
    assert found["status"] == "unproven"
    assert "the connection that must work failed too" in found["reason"]


def test_a_refusal_without_anything_to_compare_with_is_unproven(client: Checker) -> None:
    (found,) = client.verify(client.refuse("plaintext"))
    assert found["status"] == "unproven"


@pytest.mark.parametrize("kind", [*REFUSAL_KINDS, "another_role"])
def test_a_server_that_is_down_proves_no_refusal(client: Checker, kind: str) -> None:
    client.cluster.stop()
    given = {"role": "other", "certificate_role": "app"} if kind == "another_role" else {}
    proof, found = client.verify(client.expect(), client.refuse(kind, **given))
    assert (proof["status"], found["status"]) == ("deviation", "unproven")
    assert "Connection refused" in proof["reason"]
    assert "Connection refused" in found["message"]


def test_a_name_that_cannot_be_resolved_is_a_deviation(client: Checker) -> None:
    name = "no-such-host.invalid"
    proof, found = client.verify(client.expect(host=name), client.refuse("wrong_name", host=name))
    assert (proof["status"], found["status"]) == ("deviation", "unproven")
    for one in (proof["reason"], found["message"]):
        assert 'could not translate host name "no-such-host.invalid" to address' in one


def test_a_name_that_is_not_in_the_certificate_is_a_deviation(client: Checker) -> None:
    (found,) = client.verify(client.expect(host="db9.example.com", hostaddr="127.0.0.1"))
    assert found["status"] == "deviation"
    assert "does not match host name" in found["reason"]


def test_a_server_that_does_not_verify_the_certificate_is_a_deviation(client: Checker) -> None:
    client.cluster.hba("hostssl all all all trust")
    client.cluster.append("postgresql.conf", "ssl_ca_file = ''\n")
    client.cluster.reload()
    (found,) = client.verify(client.expect())
    assert found["status"] == "deviation"
    assert "the server has verified no client certificate" in found["reason"]


def test_a_certificate_without_a_file_is_said_to_be_missing(client: Checker) -> None:
    found = client.verify(client.expect(role="other"), client.expect(certificate="none"))
    assert [one["status"] for one in found] == ["deviation", "deviation"]
    assert "pgops/current/other/postgresql.crt does not exist" in found[0]["reason"]
    assert "requires a valid client certificate" in found[1]["reason"]


def test_files_that_cannot_be_read_spoil_only_their_own_check(client: Checker) -> None:
    pipe, secret = client.home / "pipe.crt", client.home / "secret.crt"
    os.mkfifo(pipe, 0o666)
    secret.write_text("root's own")
    secret.chmod(0o600)
    found = client.verify(client.expect(sslcert=str(pipe)), client.expect(sslcert=str(secret)), client.expect())
    assert [one["status"] for one in found] == ["deviation", "deviation", "ok"]
    assert f"{pipe} cannot be read: expected a regular file" in found[0]["reason"]
    assert f"{secret} cannot be read: Permission denied" in found[1]["reason"]


def test_the_default_files_are_used_when_none_are_named(client: Checker) -> None:
    (found,) = client.verify(client.expect(files="default"))
    assert "was not tried" in found["reason"]
    folder = client.home / ".postgresql"
    for name, target in {"postgresql.crt": "app/", "postgresql.key": "app/", "root.crt": ""}.items():
        (folder / name).symlink_to(f"pgops/current/{target}{name}")
    (found,) = client.verify(client.expect(files="default"))
    assert found["status"] == "ok", found
    (folder / "postgresql.key").unlink()
    (folder / "postgresql.key").symlink_to("pgops/current/app/postgresql.crt")
    (found,) = client.verify(client.expect(files="default"))
    assert found["status"] == "deviation"
    assert "could not load private key file" in found["reason"]


def test_a_damaged_certificate_spoils_only_its_own_check(client: Checker) -> None:
    damaged = client.give(
        client.home / "damaged.crt", b"-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n"
    )
    bad, good = client.verify(client.expect(sslcert=str(damaged)), client.expect())
    assert (bad["status"], good["status"]) == ("deviation", "ok")
    assert f"was not tried: {damaged}" in bad["reason"]


def test_a_certificate_that_is_renewed_before_the_connection_is_the_right_one(
    client: Checker, client_authority: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempt_all, folder = checks.attempts.attempt_all, client.home / ".postgresql" / "pgops" / "current" / "app"

    def renewed(*arguments: Any) -> Any:
        for name, path in zip(("postgresql.crt", "postgresql.key"), client_authority.issue("app", "clientAuth")):
            client.give(folder / name, path.read_bytes())
        return attempt_all(*arguments)

    monkeypatch.setattr(checks.attempts, "attempt_all", renewed)
    (found,) = client.verify(client.expect())
    assert found["status"] == "ok", found


def test_another_certificate_than_that_of_the_file_is_a_deviation(
    client: Checker, client_authority: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempt_all = checks.attempts.attempt_all
    paths = zip(("sslcert", "sslkey"), client_authority.issue("app", "clientAuth"))
    another = {name: str(client.give(client.home / f"another-{name}", path.read_bytes())) for name, path in paths}

    def by_another(library: Any, jobs: Any, *rest: Any) -> Any:
        return attempt_all(library, [one._replace(parameters={**one.parameters, **another}) for one in jobs], *rest)

    monkeypatch.setattr(checks.attempts, "attempt_all", by_another)
    (found,) = client.verify(client.expect())
    assert found["status"] == "deviation"
    assert re.match(r"was accepted with a certificate of serial number \d+, the file holds \d+$", found["reason"])


def service(client: Checker) -> str:
    """Return the lines of a service of role app that leaves the server to the connection string."""
    current = client.home / ".postgresql" / "pgops" / "current"
    lines = [
        "user=app",
        f"sslcert={current}/app/postgresql.crt",
        f"sslkey={current}/app/postgresql.key",
        f"sslrootcert={current}/root.crt",
        "sslmode=verify-full",
    ]
    return "\n".join(lines)


def test_a_service_that_needs_nothing_else_gets_nothing_else_and_proves_refusals(client: Checker) -> None:
    target = f"host=localhost\nport={client.cluster.port}\ndbname=postgres"
    client.give(client.home / ".pg_service.conf", f"[app@db1]\n{target}\n{service(client)}".encode())
    alone = client.expect(files="service", service="app@db1", database="nowhere")
    accepted, refused = client.verify(alone, client.refuse("no_certificate"))
    assert (accepted["status"], refused["status"]) == ("ok", "ok"), (accepted, refused)


def test_one_identity_proves_nothing_of_another_one_with_its_role(client: Checker) -> None:
    current = client.home / ".postgresql" / "pgops" / "current"
    shutil.copytree(current / "app", current / "other")
    for path in (current / "other", *(current / "other").iterdir()):
        shutil.chown(path, client.name, client.name)
    refusal = client.refuse("no_certificate", identity="other")
    assert client.verify(client.expect(), refusal)[1]["status"] == "unproven"
    found = client.verify(client.expect(identity="other"), refusal)
    assert [(one["identity"], one["status"]) for one in found] == [("other", "ok")] * 2


def test_the_service_of_the_role_is_used(client: Checker) -> None:
    client.give(client.home / ".pg_service.conf", f"[app]\n{service(client)}".encode())
    (found,) = client.verify(client.expect(files="service"))
    assert found["status"] == "ok", found
    for content, fault in {
        b"[other]\n": 'definition of service "app" not found',
        b"[app]\nnonsense\n": "syntax error in service file",
        b"[app]\nsslrot=x\n": "syntax error in service file",
    }.items():
        client.give(client.home / ".pg_service.conf", content)
        (found,) = client.verify(client.expect(files="service"))
        assert fault in found["reason"]


def test_the_environment_of_the_caller_changes_nothing(client: Checker, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"PGSSLMODE": "disable", "PGHOSTADDR": "192.0.2.1", "PGUSER": "x", "PGOPTIONS": "-c x"}.items():
        monkeypatch.setenv(name, value)
    (found,) = client.verify(client.expect())
    assert found["status"] == "ok", found


def test_a_role_with_an_odd_and_long_name_is_recognised(client: Checker, client_authority: Any) -> None:
    role = "x" * 50 + "-it's+odd=1"  # its DN has more than 63 bytes
    client.cluster.psql(f'CREATE ROLE "{role}" LOGIN')
    certificate, key = client_authority.issue(role, "clientAuth")
    own = {
        "sslcert": str(client.give(client.home / "odd.crt", certificate.read_bytes())),
        "sslkey": str(client.give(client.home / "odd.key", key.read_bytes())),
    }
    refusals = [client.refuse(kind, role=role, **own) for kind in REFUSAL_KINDS]
    found = client.verify(client.expect(role=role, **own), *refusals)
    assert {one["status"] for one in found} == {"ok"}, report.table({"here": {"checks": found}})


def test_nothing_is_left_when_a_check_breaks_off(client: Checker, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_arguments: Any) -> None:
        raise TlsError("broken off")

    monkeypatch.setattr(checks.attempts, "attempt_all", broken)
    with pytest.raises(TlsError, match="broken off"):
        client.verify(client.expect(), client.refuse("foreign_root"))
    assert leftovers(client) == []


def test_only_the_os_user_can_read_the_foreign_files(client: Checker) -> None:
    account = checks.processes.account(client.name, "test")
    with checks.untrusted_ca.foreign_authority(account, "app") as made:
        found = [os.stat(path) for path in (made.directory, made.key, made.certificate)]
    assert {one.st_uid for one in found} == {account.uid}
    assert all(one.st_mode & 0o077 == 0 for one in found)


def test_nothing_but_its_origin_is_wrong_with_a_foreign_certificate() -> None:
    with checks.untrusted_ca.foreign_authority(checks.processes.account("root", "test"), "app") as made:
        command = ["openssl", "verify", "-x509_strict", "-purpose", "sslclient", "-CAfile", made.certificate]
        subprocess.run([*command, made.certificate], check=True, capture_output=True)
        text = subprocess.run(
            ["openssl", "x509", "-noout", "-text", "-in", made.certificate], check=True, capture_output=True
        )
    for words in (b"CN=app", b"CA:TRUE", b"TLS Web Client Authentication, TLS Web Server Authentication"):
        assert words in text.stdout.replace(b" = ", b"="), "OpenSSL before 3.2 writes spaces there"


@pytest.mark.parametrize("host", ["/var/run/postgresql", "@abstract", "", "db1,db2"])
def test_a_unix_socket_and_a_list_are_no_hosts(host: str) -> None:
    with pytest.raises(TlsError, match=r"expectations\[0\].host"):
        expectation.read({**DEFAULTS, "host": host, "role": "app", "os_user": "app"}, "expectations[0]")
