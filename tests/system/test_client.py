# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The client transaction in the homes of real OS users."""

from __future__ import annotations

import json
import os
import re
import shutil
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.pgops.tls.plugins.module_utils.authority import issuing
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.x509 import certificate, openssl
from ansible_collections.pgops.tls.plugins.module_utils.x509.names import parse_all
from ansible_collections.pgops.tls.tests.clients import (
    OTHER,
    Clients,
    User,
    chains,
    identity,
    new_key,
    sign,
    snapshot,
    used,
)
from ansible_collections.pgops.tls.tests.servers import AUTHORITIES, TODAY
from ansible_collections.pgops.tls.tests.shared import DAY
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can make OS users")

# First set-up


def test_a_first_run_asks_and_a_second_call_installs(clients: Clients, alice: User) -> None:
    first = clients.call()
    [request] = first["requests"]
    assert (request["id"], request["role"], request["reasons"]) == (f"{alice.name}/app", "app", ["no_certificate"])
    assert first["reasons"] == [f"{alice.name}/app: no_certificate"]
    second = clients.call(certificates=chains(first))
    assert second["changed"]
    assert second["requests"] == []
    [fact] = second["identities"]
    leaf = certificate.read_pem((alice.default / "postgresql.crt").read_text(), "chain")[0]
    assert (fact["sha256"], fact["serial"]) == (leaf.sha256, f"{leaf.serial:x}")
    assert Path(fact["certificate"]).read_text() == (alice.default / "postgresql.crt").read_text()
    assert Path(fact["key"]).read_text() == (alice.default / "postgresql.key").read_text()
    assert os.listdir(alice.store / "pending") == []
    assert (alice.default / "root.crt").read_text() == AUTHORITIES["server"].root.pem


def test_every_file_belongs_to_its_user_and_the_key_is_for_nobody_else(clients: Clients, alice: User) -> None:
    clients.converge()
    made = [alice.service_file, alice.default, *alice.default.rglob("*")]
    assert {path.lstat().st_uid for path in made} == {alice.uid}
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in made if path.is_file()}
    assert modes == {
        ".pg_service.conf": 0o600,
        "postgresql.key": 0o600,
        "postgresql.crt": 0o644,
        "root.crt": 0o644,
        "manifest.json": 0o644,
    }
    assert {stat.S_IMODE(path.stat().st_mode) for path in made if path.is_dir()} == {0o700}


def test_the_chain_is_whole_and_openssl_takes_it_for_a_client(clients: Clients, alice: User, tmp_path: Path) -> None:
    clients.converge()
    (tmp_path / "root.crt").write_text(AUTHORITIES["client"].root.pem)
    chain = str(alice.default / "postgresql.crt")
    command = ["openssl", "verify", "-x509_strict", "-purpose", "sslclient", "-CAfile", str(tmp_path / "root.crt")]
    done = subprocess.run([*command, "-untrusted", chain, chain], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_no_key_is_in_any_result(clients: Clients, alice: User) -> None:
    first = clients.call()
    second = clients.call(certificates=chains(first))
    key = (alice.default / "postgresql.key").read_text().splitlines()[1]
    for result in (first, second, clients.call(renew=True, check_mode=True)):
        assert key not in json.dumps(result)
        assert "PRIVATE" not in json.dumps(result)


# Runs that change nothing


def test_a_run_that_changes_nothing_writes_nothing(clients: Clients, alice: User) -> None:
    clients.converge()
    before = snapshot(alice.home)
    result = clients.call()
    assert (result["changed"], result["changes"], result["reasons"], result["requests"], result["diff"]) == (
        False, [], [], [], [],
    )  # fmt: skip
    assert snapshot(alice.home) == before


def test_the_second_call_can_be_repeated(clients: Clients, alice: User) -> None:
    first = clients.call()
    certificates = chains(first)
    clients.call(certificates=certificates)
    before = snapshot(alice.home)
    assert not clients.call(certificates=certificates)["changed"]
    assert not clients.call(certificates=certificates, renew=True)["changed"]
    assert snapshot(alice.home) == before


def test_a_host_without_identities_has_nothing_to_do(clients: Clients) -> None:
    assert clients.call(identities=[])["changed"] is False


# Renewal


def test_a_certificate_in_the_last_third_of_its_life_is_renewed_and_keeps_its_key(
    clients: Clients, alice: User
) -> None:
    first = clients.call()
    clients.call(certificates=chains(first, start=TODAY - 80 * DAY))
    before = used(alice)
    result = clients.call()
    assert result["reasons"] == [f"{alice.name}/app: expires_in_10d"]
    assert used(alice) == before, "nothing is touched before the certificate is there"
    assert clients.call(certificates=chains(result))["changed"]
    after = used(alice)
    key = str(alice.default / "postgresql.key")
    assert after[key] == before[key]
    assert after[str(alice.default / "postgresql.crt")] != before[str(alice.default / "postgresql.crt")]
    assert os.listdir(alice.store / "pending") == []
    assert clients.call()["changed"] is False


@pytest.mark.parametrize(("age", "authority"), [(80 * DAY, AUTHORITIES["client"]), (DAY, OTHER)])
def test_a_program_that_reads_the_key_after_the_switch_can_use_the_certificate_of_before(
    clients: Clients, alice: User, age: int, authority: issuing.Authority
) -> None:
    """It opened its certificate before the switch, as libpq does, and opens its key by the same names after it."""
    clients.call(certificates=chains(clients.call(), start=TODAY - age))
    opened = (alice.default / "postgresql.crt").read_text()
    roots = AUTHORITIES["client"].root.pem + OTHER.root.pem
    clients.options.update(issuing=authority.issuing.pem, trusted_clients=roots)
    clients.call(certificates=chains(clients.call(), authority=authority))
    assert (alice.default / "postgresql.crt").read_text() != opened
    leaf = certificate.read_pem(opened, "certificate")[0]
    assert openssl.public_key(str(alice.default / "postgresql.key")) == leaf.public_key


@pytest.mark.parametrize(
    ("change", "damage"),
    [
        ({"new_keys": True}, None),
        ({"key_type": "P-384"}, None),
        ({}, lambda key: key.chmod(0o644)),
        ({}, lambda key: key.write_text("garbage")),
        ({}, lambda key: key.write_bytes(new_key())),
    ],
)
def test_a_key_that_is_not_wanted_or_not_sound_does_not_stay(
    clients: Clients, alice: User, change: dict[str, Any], damage: Any
) -> None:
    clients.call(certificates=chains(clients.call(), start=TODAY - 80 * DAY))
    if damage:
        damage(alice.store / "generations/0001/app/postgresql.key")
    before = (alice.default / "postgresql.key").read_bytes()
    clients.converge(**change)
    assert (alice.default / "postgresql.key").read_bytes() != before
    assert clients.call(key_type=change.get("key_type", "P-256"))["changed"] is False


def test_an_expired_certificate_is_renewed(clients: Clients) -> None:
    first = clients.call()
    clients.call(certificates=chains(first, start=TODAY - 80 * DAY))
    result = clients.call(now=TODAY + 11 * DAY)
    assert result["reasons"][0].split(": ")[1].startswith("expired_")


def test_renew_forces_a_new_certificate_once(clients: Clients, alice: User) -> None:
    clients.converge()
    before = used(alice)
    result = clients.converge(renew=True)
    assert (result["changed"], result["reasons"]) == (True, [f"{alice.name}/app: forced"])
    assert used(alice) != before
    assert clients.call()["changed"] is False


def test_renew_before_sets_the_day(clients: Clients) -> None:
    clients.converge()
    assert clients.call(renew_before="80d")["requests"] == []
    assert clients.call(renew_before="91d")["requests"] != []


def test_a_renewal_that_would_never_end_stops_before_anything_changes(clients: Clients, alice: User) -> None:
    clients.converge()
    before = used(alice)
    request = clients.call(renew_before="90d")
    with pytest.raises(TlsError, match=r"renew_before: .*90d before they end, .* 89d left of its life of 90d"):
        clients.call(renew_before="90d", certificates=chains(request))
    assert used(alice) == before
    clients.call(renew_before="90d", certificates=chains(request, days=180))
    assert used(alice) != before
    assert clients.call(renew_before="90d")["requests"] == []


def test_another_key_type_or_issuer_asks_for_a_new_certificate(clients: Clients, alice: User) -> None:
    clients.converge()
    assert clients.call(key_type="RSA-3072")["reasons"] == [f"{alice.name}/app: key_type: P-256 instead of RSA-3072"]
    other = {"issuing": OTHER.issuing.pem, "trusted_clients": OTHER.root.pem + AUTHORITIES["client"].root.pem}
    assert clients.call(**other)["reasons"] == [f"{alice.name}/app: issuer_changed"]


def test_other_authorities_are_refused_for_all_users_unless_a_renewal_is_forced(
    clients: Clients, alice: User, bob: User
) -> None:
    clients.options["identities"].append(identity(bob, "reporting"))
    clients.converge()
    # alice has nothing yet, so she would be given a certificate before it is bob's turn
    shutil.rmtree(alice.default)
    before = snapshot(alice.home), snapshot(bob.home)
    other = {"issuing": OTHER.issuing.pem, "trusted_clients": OTHER.issuing.pem + OTHER.root.pem}
    path = rf"{bob.store}/current/reporting/postgresql\.crt"
    old = AUTHORITIES["client"].issuing.common_name
    for check_mode in (True, False):
        with pytest.raises(TlsError, match=rf"{path}: .*{old}.*run with renew: true"):
            clients.call(check_mode=check_mode, **other)
    assert (snapshot(alice.home), snapshot(bob.home)) == before
    request = clients.call(renew=True, **other)
    assert f"{bob.name}/reporting: issuer_changed" in request["reasons"]
    clients.call(renew=True, certificates=chains(request, authority=OTHER), **other)
    assert clients.call(**other)["changed"] is False


@pytest.mark.parametrize("key_type", ["P-384", "RSA-3072", "Ed25519"])
def test_every_key_type_gets_through_the_rehearsal(clients: Clients, alice: User, key_type: str) -> None:
    clients.converge(key_type=key_type)
    chain = certificate.read_pem((alice.default / "postgresql.crt").read_text(), "chain")
    assert chain[0].key_type == key_type


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda pair: pair["postgresql.key"].unlink(), "key_missing"),
        (lambda pair: pair["postgresql.crt"].unlink(), "no_certificate"),
        (lambda pair: pair["postgresql.crt"].write_text("-----BEGIN CERTIFICATE-----"), "certificate_damaged"),
        (lambda pair: pair["postgresql.key"].write_text("garbage"), "unusable"),
        (lambda pair: pair["postgresql.key"].write_bytes(new_key()), "unusable"),
        (
            lambda pair: pair["postgresql.crt"].write_text(pair["postgresql.crt"].read_text().split("-\n-")[0] + "-\n"),
            "chain_incomplete",
        ),
        (
            lambda pair: pair["postgresql.key"].chmod(0o000) or shutil.chown(pair["postgresql.key"], "root"),
            "key_missing",
        ),
    ],
)
def test_what_is_damaged_is_issued_again(clients: Clients, alice: User, damage: Any, reason: str) -> None:
    clients.converge()
    damage({name: alice.store / "generations/0001/app" / name for name in ("postgresql.key", "postgresql.crt")})
    result = clients.call()
    assert result["reasons"][0].startswith(f"{alice.name}/app: {reason}")
    clients.call(certificates=chains(result))
    assert clients.call()["changed"] is False


# Several roles


def test_another_role_leaves_key_and_certificate_of_the_first_as_they_are(clients: Clients, alice: User) -> None:
    clients.converge()
    before = used(alice)
    clients.options["identities"].append(identity(alice, "reporting"))
    result = clients.converge()
    assert result["reasons"] == [f"{alice.name}/reporting: no_certificate"]
    after = used(alice)
    for name in ("postgresql.crt", "postgresql.key", "root.crt"):
        assert after[str(alice.default / name)] == before[str(alice.default / name)]
    assert (alice.store / "current/reporting/postgresql.key").exists()
    assert b"[reporting]" in after["service"]
    assert clients.call()["changed"] is False


def test_the_first_identity_has_the_default_names(clients: Clients, alice: User) -> None:
    clients.options["identities"].append(identity(alice, "reporting"))
    clients.converge()
    result = clients.converge(identities=clients.options["identities"][::-1])
    assert os.readlink(alice.default / "postgresql.key") == "pgops/current/reporting/postgresql.key"
    assert result["reasons"] == []


def test_a_role_that_is_taken_out_loses_its_files(clients: Clients, alice: User) -> None:
    both = [*clients.options["identities"], identity(alice, "reporting")]
    clients.converge(identities=both)
    result = clients.call()
    assert f"{alice.name}/reporting: no longer declared, its key and certificate are removed" in result["changes"]
    assert not (alice.store / "current/reporting").exists()
    assert b"reporting" not in alice.service_file.read_bytes()
    assert clients.call()["changed"] is False


def test_os_users_have_transactions_of_their_own(clients: Clients, alice: User, bob: User) -> None:
    clients.options["identities"].append(identity(bob, "app"))
    first = clients.call()
    certificates = chains(first)
    key = x509.load_pem_x509_csr(first["requests"][1]["csr"].encode()).public_key()
    certificates[f"{bob.name}/app"] = sign(key, "somebody_else")
    with pytest.raises(TlsError, match=f"{bob.name}/app.*common_name: somebody_else instead of app") as caught:
        clients.call(certificates=certificates)
    assert (alice.default / "postgresql.key").exists(), "alice's certificate is in use all the same"
    assert caught.value.details["changes"]
    assert not (bob.default / "postgresql.key").exists()


def test_an_os_user_that_fails_keeps_no_certificate_from_others(clients: Clients, alice: User, bob: User) -> None:
    own = [identity(alice, "app"), {**identity(alice, "clerk"), "login": "password"}, identity(bob, "app")]
    alice.home.chmod(0o555)
    with pytest.raises(TlsError, match="Permission denied") as failed:
        clients.call(identities=own)
    found = failed.value.as_result()
    assert [one["id"] for one in found["requests"]] == [f"{bob.name}/app"]
    assert found["not_asked"] == [f"{alice.name}/app"]
    assert found["identities"][0]["serial"] is None
    with pytest.raises(TlsError, match="Permission denied") as failed:
        clients.call(identities=own, certificates={**chains(found), f"{alice.name}/app": ""})
    assert failed.value.details == {"changes": failed.value.details["changes"]}
    assert (bob.default / "postgresql.key").exists()
    alice.home.chmod(0o755)
    assert [one["id"] for one in clients.call(identities=own)["requests"]] == [f"{alice.name}/app"]


# Changes that need no certificate


def test_new_roots_need_no_certificate(clients: Clients, alice: User) -> None:
    clients.converge()
    before = used(alice)
    result = clients.call(roots=AUTHORITIES["server"].root.pem + OTHER.root.pem)
    assert result["requests"] == []
    assert len(result["changes"]) == 1
    assert (alice.default / "root.crt").read_text() == AUTHORITIES["server"].root.pem + OTHER.root.pem
    key = str(alice.default / "postgresql.key")
    assert used(alice)[key] == before[key]
    assert clients.call(roots=AUTHORITIES["server"].root.pem + OTHER.root.pem)["changed"] is False


def test_a_changed_service_needs_neither_certificate_nor_generation(clients: Clients, alice: User) -> None:
    clients.converge()
    result = clients.call(identities=[identity(alice, "app", "warehouse")])
    assert result["changes"] == [f"{alice.service_file}: services app"]
    assert b"dbname=warehouse" in alice.service_file.read_bytes()
    assert os.listdir(alice.store / "generations") == ["0001"]


@pytest.mark.parametrize(
    ("path", "damage", "told"),
    [
        ("generations/0001/app/postgresql.key", lambda path: path.chmod(0o644), "mode 0644, expected 0600"),
        ("generations/0001/app/postgresql.crt", lambda path: path.chmod(0o600), "mode 0600, expected 0644"),
        ("generations/0001/root.crt", lambda path: shutil.chown(path, "root"), "owner 0, expected"),
        ("generations/0001/app/postgresql.crt", lambda path: shutil.chown(path, "root"), "owner 0, expected"),
        ("generations/0001/app", lambda path: path.chmod(0o755), "mode 0755, expected 0700"),
        ("generations", lambda path: path.chmod(0o777), "mode 0777, expected 0700"),
        ("pending", lambda path: path.chmod(0o755), "mode 0755, expected 0700"),
        ("", lambda path: path.chmod(0o755), "mode 0755, expected 0700"),
        ("generations/0001/manifest.json", lambda path: path.write_text("{}"), "manifest.json does not describe"),
        ("generations/0001/root.crt", lambda path: path.write_text("nonsense"), "root.crt holds"),
        ("generations/0001/root.crt", lambda path: path.unlink(), "root.crt holds"),
    ],
)
def test_wrong_modes_owners_and_bytes_are_found_and_repaired(
    clients: Clients, alice: User, path: str, damage: Any, told: str
) -> None:
    clients.converge()
    wanted = used(alice)
    damage(alice.store / path)
    checked = clients.call(check_mode=True)
    result = clients.call()
    assert (result["changed"], result["requests"]) == (True, [])
    assert [change for change in result["changes"] if told in change], result["changes"]
    assert checked["changes"] == result["changes"]
    assert used(alice) == wanted
    assert clients.call()["changed"] is False


@pytest.mark.parametrize("name", ["postgresql.crt", "postgresql.key", "root.crt"])
def test_a_default_link_that_was_removed_or_turned_is_made_again(clients: Clients, alice: User, name: str) -> None:
    clients.converge()
    wanted = used(alice)
    (alice.default / name).unlink()
    assert clients.call()["changes"] == [f"{alice.default / name}: link to {wanted[str(alice.default / name)][0]}"]
    assert used(alice) == wanted


# Check mode and diff mode


def test_check_mode_tells_the_same_changes_and_touches_nothing(clients: Clients, alice: User) -> None:
    alice.write(".postgresql/root.crt", "foreign")
    before = snapshot(alice.home)
    checked = clients.call(check_mode=True)
    assert snapshot(alice.home) == before
    assert (checked["changed"], len(checked["requests"])) == (True, 1)
    assert "csr" not in checked["requests"][0]
    first = clients.call()
    second = clients.call(certificates=chains(first))
    assert checked["reasons"] == first["reasons"] == second["reasons"]
    assert checked["changes"] == second["changes"]


def test_check_mode_on_a_converged_host_tells_no_change(clients: Clients, alice: User) -> None:
    clients.converge()
    before = snapshot(alice.home)
    assert clients.call(check_mode=True)["changed"] is False
    assert clients.call(check_mode=True, renew=True)["changed"] is True
    assert snapshot(alice.home) == before


def test_check_mode_tells_of_an_interrupted_run_and_leaves_it(clients: Clients, alice: User) -> None:
    clients.converge()
    text = json.dumps({"previous": "0001", "staged": None, "changes": []})
    alice.write(".postgresql/pgops/journal.json", text, 0o600)
    before = snapshot(alice.home)
    assert clients.call(check_mode=True)["changes"] == [
        f"{alice.name}: the transaction of an interrupted run is undone"
    ]
    assert snapshot(alice.home) == before
    assert clients.call()["changes"] == [f"{alice.name}: the transaction of an interrupted run is undone"]
    assert clients.call()["changed"] is False


def test_two_identities_of_a_role_have_their_own_files_by_their_names(clients: Clients, alice: User) -> None:
    first = {"role": "app", "os_user": alice.name, "databases": ["shop"]}
    second = {**first, "name": "app_billing", "endpoints": [{"server": "b1", "host": "localhost", "port": 5433}]}
    asked = clients.call(identities=[first, second])
    assert [(one["id"], one["role"]) for one in asked["requests"]] == [
        (f"{alice.name}/app", "app"),
        (f"{alice.name}/app_billing", "app"),
    ]
    assert "role: app\nname: app_billing\nto be issued, because: no_certificate\n" in asked["diff"][0]["after"]
    done = clients.call(identities=[first, second], certificates=chains(asked))
    paths = [Path(one["certificate"]) for one in done["identities"]]
    assert [path.parent.name for path in paths] == ["app", "app_billing"]
    leaves = [certificate.read_pem(path.read_text(), str(path))[0] for path in paths]
    assert [one.common_name for one in leaves] == ["app", "app"]
    assert leaves[0].serial != leaves[1].serial
    assert "[app_billing@b1]\nuser=app\nhost=localhost\nport=5433\ndbname=shop\n" in alice.service_file.read_text()
    alone = clients.call(identities=[second])
    assert alone["changes"][0].startswith(f"{alice.name}/app: no longer declared")
    assert paths[1].read_text().startswith(leaves[1].pem), "the files of one stay where they are when another one goes"


def test_the_diff_of_an_os_user_is_one_and_shows_links_and_services_in_a_line_each(
    clients: Clients, alice: User
) -> None:
    alice.write(".pg_service.conf", "[old]\npassword=hunter2\n")
    first = clients.call()
    asked = "role: app\nto be issued, because: no_certificate\n"
    added = "links postgresql.key, postgresql.crt, root.crt\nservices app\n"
    name = {"before_header": f"OS user {alice.name}", "after_header": f"OS user {alice.name}"}
    assert clients.call(check_mode=True)["diff"] == [{**name, "before": "", "after": asked + added}]
    first = clients.call()
    assert first["diff"] == [{**name, "before": "", "after": asked}]
    second = clients.call(certificates=chains(first))
    [entry] = second["diff"]
    assert re.fullmatch(r"role: app\nkey: P-256\nserial: .*\nnot after: .*\n" + added, entry["after"])
    (alice.default / "root.crt").unlink()
    (alice.default / "root.crt").symlink_to("elsewhere")
    alice.service_file.write_text(alice.service_file.read_text().replace("verify-full", "disable"))
    [entry] = clients.call()["diff"]
    assert entry["before"].startswith("root.crt: a file that is not ours\n# BEGIN")
    assert entry["after"].startswith("root.crt: pgops/current/root.crt\n# BEGIN"), "what others changed is in full"
    assert "sslmode=disable" in entry["before"]
    assert "hunter2" not in json.dumps([first, second, entry])


# A real server


def test_plain_psql_finds_the_default_files(clients: Clients, alice: User, cluster: Any) -> None:
    clients.options["identities"] = [identity(alice, "app", "postgres"), identity(alice, "reporting")]
    clients.converge()
    serve(cluster)
    line = f"host=localhost port={cluster.port} dbname=postgres sslmode=verify-full"
    sql = "SELECT current_user, ssl, client_dn FROM pg_stat_ssl WHERE pid = pg_backend_pid()"
    done = alice.run("psql", "-XAtqw", f"{line} user=app", "-c", sql)
    assert done.stdout == "app|t|/CN=app\n", done.stderr
    done = alice.run("psql", "-XAtqw", f"{line} service=reporting", "-c", sql)
    assert done.stdout == "reporting|t|/CN=reporting\n", done.stderr
    done = alice.run("psql", "-XAtqw", f"service=app host=localhost port={cluster.port}", "-c", sql)
    assert done.stdout == "app|t|/CN=app\n", done.stderr
    done = alice.run("psql", "-XAtqw", f"{line} user=reporting", "-c", sql)  # with app's certificate
    assert "certificate authentication failed" in done.stderr


def serve(cluster: Any) -> None:
    """Give the cluster a server certificate and let the two roles in by certificate."""
    authority, key = AUTHORITIES["server"], ec.generate_private_key(ec.SECP256R1())
    leaf = issuing.new_leaf(
        issuing.Issuer.of(authority.issuing, authority.issuing_key),
        certificate.SERVER_AUTH,
        issuing.Holder("", tuple(parse_all(["localhost"], "names"))),
        key.public_key(),
        issuing.Validity(TODAY - 300, TODAY + DAY),
    )
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    cluster.write("server.key", key.private_bytes(*form))
    cluster.write("server.crt", certificate.read_der(leaf, "leaf").pem + authority.issuing.pem)
    cluster.write("clients.crt", AUTHORITIES["client"].root.pem)
    cluster.append("postgresql.conf", "ssl = on\nssl_ca_file = 'clients.crt'\n")
    cluster.psql("CREATE ROLE app LOGIN; CREATE ROLE reporting LOGIN")
    cluster.hba("hostssl all app,reporting 127.0.0.1/32 cert", "hostssl all app,reporting ::1/128 cert")
    cluster.reload()
