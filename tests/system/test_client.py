# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The client transaction in the homes of real OS users, with faults and attacks; it needs root to make those users."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import pwd
import shutil
import stat
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.pgops.tls.plugins.module_utils.authority import issuing
from ansible_collections.pgops.tls.plugins.module_utils.client import convergence, target
from ansible_collections.pgops.tls.plugins.module_utils.core import processes
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.x509 import certificate
from ansible_collections.pgops.tls.plugins.module_utils.x509.names import parse_all
from ansible_collections.pgops.tls.tests import faults
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can make OS users")

NOW = int(time.time())
DAY = 86400
AUTHORITIES = {name: issuing.new_authority(name, "P-256", NOW) for name in ("server", "client")}
OTHER = issuing.new_authority("client", "P-256", NOW)


def sign(
    public_key: Any,
    role: str,
    *,
    authority: issuing.Authority = AUTHORITIES["client"],
    purpose: str = certificate.CLIENT_AUTH,
    start: int = NOW - 300,
    days: int = 90,
) -> str:
    """Return the chain that an authority issues for a role."""
    leaf = issuing.new_leaf(
        issuing.Issuer.of(authority.issuing, authority.issuing_key),
        purpose,
        issuing.Holder(role, ()),
        public_key,
        issuing.Validity(start, start + days * DAY),
    )
    return certificate.read_der(leaf, "leaf").pem + authority.issuing.pem


def chains(result: dict[str, Any], **options: Any) -> dict[str, str]:
    """Return the certificates for all requests of a result."""
    return {
        request["id"]: sign(x509.load_pem_x509_csr(request["csr"].encode()).public_key(), request["role"], **options)
        for request in result["requests"]
    }


@dataclass
class User:
    """An OS user made for one test."""

    name: str
    home: Path

    @property
    def default(self) -> Path:
        """Return the directory that libpq looks into."""
        return self.home / ".postgresql"

    @property
    def store(self) -> Path:
        return self.default / "pgops"

    @property
    def service_file(self) -> Path:
        return self.home / ".pg_service.conf"

    @property
    def uid(self) -> int:
        return pwd.getpwnam(self.name).pw_uid

    def run(self, *argv: str) -> subprocess.CompletedProcess[str]:
        """Run a command as this user."""
        environment = {"PATH": os.environ["PATH"], "HOME": str(self.home), "LC_ALL": "C"}
        return subprocess.run(
            ["runuser", "-u", self.name, "--", *argv],
            capture_output=True,
            text=True,
            env=environment,
            cwd="/",
            check=False,
        )

    def write(self, path: str, text: str, mode: int = 0o644) -> Path:
        """Write a file of this user's."""
        full = self.home / path
        full.parent.mkdir(exist_ok=True)
        full.write_text(text, encoding="utf-8")
        full.chmod(mode)
        for part in (full, full.parent):
            shutil.chown(part, self.name, pwd.getpwnam(self.name).pw_gid)
        return full


@dataclass
class Clients:
    """The module's options for this host, and calls with them."""

    options: dict[str, Any] = field(default_factory=dict)

    def call(self, *, check_mode: bool = False, now: int = NOW, **changes: Any) -> dict[str, Any]:
        """Call the module's logic once."""
        wanted = target.read({**self.options, **changes}, now)
        result = convergence.result(convergence.converge(wanted, now, float(now), check_mode=check_mode))
        json.dumps(result)  # a module's result has to go through JSON
        return result

    def converge(self, **changes: Any) -> dict[str, Any]:
        """Call as the role does: once, and once more with certificates when some are needed."""
        first = self.call(**changes)
        return self.call(certificates=chains(first), **changes) if first["requests"] else first


@pytest.fixture(scope="session")
def accounts() -> Iterator[list[User]]:
    """Make two OS users with homes in memory, where fsync costs nothing."""
    base = Path(tempfile.mkdtemp(prefix="pgtls-", dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None))
    base.chmod(0o755)
    made = [User(f"pgtls{os.getpid()}{letter}", base / letter) for letter in "ab"]
    try:
        for user in made:
            command = ["useradd", "--no-create-home", "--home-dir", str(user.home), "--user-group", user.name]
            subprocess.run(command, check=True, capture_output=True)
        yield made
    finally:
        for user in made:
            subprocess.run(["userdel", user.name], check=False, capture_output=True)
        shutil.rmtree(base)


@pytest.fixture
def users(accounts: list[User]) -> list[User]:
    for user in accounts:
        shutil.rmtree(user.home, ignore_errors=True)
        user.home.mkdir(mode=0o755)
        shutil.chown(user.home, user.name, pwd.getpwnam(user.name).pw_gid)
    return accounts


@pytest.fixture
def alice(users: list[User]) -> User:
    return users[0]


@pytest.fixture
def bob(users: list[User]) -> User:
    return users[1]


@pytest.fixture
def clients(alice: User) -> Clients:
    return Clients(
        {
            "identities": [{"role": "app", "os_user": alice.name, "databases": ["shop"]}],
            "key_type": "P-256",
            "roots": AUTHORITIES["server"].root.pem,
            "issuing": AUTHORITIES["client"].issuing.pem,
            "trusted_clients": AUTHORITIES["client"].issuing.pem + AUTHORITIES["client"].root.pem,
        }
    )


def snapshot(home: Path) -> dict[str, tuple[Any, ...]]:
    """Return everything below a home with inodes and times, which even an equal write would change."""
    found = {}
    for path, what in faults.everything(home).items():
        info = (home / path).lstat()
        found[path] = (*what, info.st_ino, info.st_mtime_ns, info.st_ctime_ns)
    return found


def used(user: User) -> dict[str, Any]:
    """Return what programs of this user see: the default files, the service file, the files of each role."""
    seen: dict[str, Any] = {"service": user.service_file.read_bytes() if user.service_file.exists() else None}
    for path in sorted([*user.default.glob("*"), *(user.store / "current").glob("**/*")]):
        if path.name != "pgops" and not path.name.endswith(".pgops-new"):
            link = os.readlink(path) if path.is_symlink() else None
            seen[str(path)] = (link, path.read_bytes() if path.is_file() else None, oct(path.stat().st_mode))
    return seen


def identity(user: User, role: str, *databases: str) -> dict[str, Any]:
    return {"role": role, "os_user": user.name, "databases": list(databases)}


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


def test_a_certificate_in_the_last_third_of_its_life_is_renewed_with_a_new_key(clients: Clients, alice: User) -> None:
    first = clients.call()
    clients.call(certificates=chains(first, start=NOW - 80 * DAY))
    before = used(alice)
    result = clients.call()
    assert result["reasons"] == [f"{alice.name}/app: expires_in_10d"]
    assert used(alice) == before, "nothing is touched before the certificate is there"
    assert clients.call(certificates=chains(result))["changed"]
    after = used(alice)
    key = str(alice.default / "postgresql.key")
    assert after[key] != before[key]
    assert clients.call()["changed"] is False


def test_an_expired_certificate_is_renewed(clients: Clients) -> None:
    first = clients.call()
    clients.call(certificates=chains(first, start=NOW - 80 * DAY))
    result = clients.call(now=NOW + 11 * DAY)
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


def test_another_key_type_or_issuer_asks_for_a_new_certificate(clients: Clients, alice: User) -> None:
    clients.converge()
    assert clients.call(key_type="RSA-3072")["reasons"] == [f"{alice.name}/app: key_type: P-256 instead of RSA-3072"]
    other = {"issuing": OTHER.issuing.pem, "trusted_clients": OTHER.root.pem + AUTHORITIES["client"].root.pem}
    assert clients.call(**other)["reasons"] == [f"{alice.name}/app: issuer_changed"]


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
            "unusable",
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


def new_key() -> bytes:
    return ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


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


# What was there before


def test_files_at_the_default_names_are_kept_beside_ours(clients: Clients, alice: User) -> None:
    files = {"postgresql.crt": 0o640, "postgresql.key": 0o400, "root.crt": 0o644}
    for name, mode in files.items():
        alice.write(f".postgresql/{name}", f"{name} of another server\n", mode)
    result = clients.converge()
    for name, mode in files.items():
        kept = alice.default / f"{name}.before-pgops"
        assert kept.read_text() == f"{name} of another server\n"
        assert stat.S_IMODE(kept.stat().st_mode) == mode
        assert (alice.default / name).is_symlink()
    assert sum("stays beside it as .before-pgops" in change for change in result["changes"]) == 3
    assert clients.call()["changed"] is False


def test_a_second_foreign_file_does_not_overwrite_the_first_that_was_kept(clients: Clients, alice: User) -> None:
    alice.write(".postgresql/root.crt", "first")
    clients.converge()
    (alice.default / "root.crt").unlink()
    alice.write(".postgresql/root.crt", "second")
    clients.call()
    assert (alice.default / "root.crt.before-pgops").read_text() == "first"
    assert (alice.default / "root.crt.before-pgops-2").read_text() == "second"


def test_a_foreign_key_of_root_is_kept_too(clients: Clients, alice: User) -> None:
    shutil.chown(alice.write(".postgresql/postgresql.key", "key", 0o640), "root")
    clients.converge()
    kept = alice.default / "postgresql.key.before-pgops"
    assert (kept.read_text(), kept.stat().st_uid, stat.S_IMODE(kept.stat().st_mode)) == ("key", 0, 0o640)


def test_the_hand_written_part_of_the_service_file_stays_byte_for_byte(clients: Clients, alice: User) -> None:
    text = "# mine \u00fc\r\n[old]\nhost=db0\npassword=hunter2"  # no line end at the end
    alice.write(".pg_service.conf", text, 0o640)
    result = clients.converge()
    content = alice.service_file.read_bytes()
    assert content.startswith(text.encode() + b"\n# BEGIN pgops.tls")
    assert stat.S_IMODE(alice.service_file.stat().st_mode) == 0o640
    assert "hunter2" not in json.dumps(result)
    with alice.service_file.open("ab") as stream:
        stream.write(b"[mine]\nhost=db9\n")
    clients.call(identities=[identity(alice, "app", "other")])
    assert alice.service_file.read_bytes() == content.replace(b"dbname=shop", b"dbname=other") + b"[mine]\nhost=db9\n"


def test_a_service_file_that_is_a_link_is_followed(clients: Clients, alice: User) -> None:
    real = alice.write("dotfiles/services", "[old]\nhost=db0\n")
    alice.service_file.symlink_to(real)
    clients.converge()
    assert alice.service_file.is_symlink()
    assert b"[app]" in real.read_bytes()


# Certificates that are refused


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"role": "other"}, "did not issue what was asked for: common_name: other instead of app"),
        ({"purpose": certificate.SERVER_AUTH}, "did not issue what was asked for: profile: extended key usage"),
        ({"authority": OTHER}, "did not issue what was asked for: issuer_changed"),
        ({"start": NOW - 100 * DAY}, "did not issue what was asked for: expired_"),
        ({"start": NOW + DAY}, "did not issue what was asked for: not_valid_for_another_"),
        ({"public_key": ec.generate_private_key(ec.SECP256R1()).public_key()}, "issued for another key than the one"),
        ({"public_key": ec.generate_private_key(ec.SECP384R1()).public_key()}, "key_type: P-384 instead of P-256"),
    ],
)
def test_a_certificate_that_is_not_what_was_asked_for_is_refused(
    clients: Clients, alice: User, options: dict[str, Any], told: str
) -> None:
    clients.converge()
    request = clients.call(renew=True)["requests"][0]
    before = snapshot(alice.home)
    wanted = {"public_key": x509.load_pem_x509_csr(request["csr"].encode()).public_key(), "role": "app", **options}
    with pytest.raises(TlsError, match=f"certificates: {alice.name}/app: .*{told}"):
        clients.call(renew=True, certificates={request["id"]: sign(**wanted)})
    assert snapshot(alice.home) == before


def test_a_chain_without_the_issuing_authority_fails_the_rehearsal(clients: Clients, alice: User) -> None:
    clients.converge()
    first = clients.call(renew=True)
    before = used(alice)
    leaf_only = {name: chain.split("-\n-")[0] + "-\n" for name, chain in chains(first).items()}
    with pytest.raises(TlsError, match="unable to get local issuer certificate") as caught:
        clients.call(renew=True, certificates=leaf_only)
    assert "as they were before" not in caught.value.message, "found before anything live was touched"
    assert used(alice) == before
    assert os.listdir(alice.store / "generations") == ["0001"]


def test_every_role_is_rehearsed_not_only_the_default_one(clients: Clients, alice: User) -> None:
    clients.options["identities"].append(identity(alice, "reporting"))
    certificates = chains(clients.call())
    certificates[f"{alice.name}/reporting"] = certificates[f"{alice.name}/reporting"].split("-\n-")[0] + "-\n"
    with pytest.raises(TlsError, match=f"{alice.name}/reporting: .*unable to get local issuer certificate"):
        clients.call(certificates=certificates)
    assert not (alice.default / "postgresql.key").exists()


def test_trust_that_does_not_hold_the_issuer_fails_the_rehearsal(clients: Clients) -> None:
    first = clients.call(trusted_clients=OTHER.root.pem)
    with pytest.raises(TlsError, match=r"(self.signed certificate|local issuer)"):
        clients.call(trusted_clients=OTHER.root.pem, certificates=chains(first))


def test_a_certificate_without_a_waiting_key_is_refused(clients: Clients, alice: User) -> None:
    certificates = chains(clients.call())
    (alice.store / "pending/app.key").unlink()
    with pytest.raises(TlsError, match=r"no key waits for this certificate in .*pending/app\.key"):
        clients.call(certificates=certificates)


def test_a_certificate_for_nobody_is_refused(clients: Clients) -> None:
    with pytest.raises(TlsError, match="certificates: 'x/y' is none of the identities"):
        clients.call(certificates={"x/y": AUTHORITIES["client"].root.pem})


def test_a_second_call_that_leaves_an_identity_without_certificate_fails(clients: Clients, alice: User) -> None:
    clients.options["identities"].append(identity(alice, "reporting"))
    certificates = chains(clients.call())
    del certificates[f"{alice.name}/reporting"]
    with pytest.raises(TlsError, match=f"there is none for {alice.name}/reporting, which needs one"):
        clients.call(certificates=certificates)


# Interrupted runs


def test_a_key_that_waits_is_used_again(clients: Clients) -> None:
    first, again = clients.call(), clients.call()
    assert first["changed"]
    assert not again["changed"]
    requests = [x509.load_pem_x509_csr(one["requests"][0]["csr"].encode()) for one in (first, again)]
    keys: list[Any] = [request.public_key() for request in requests]  # cryptography 38 cannot compare them
    assert keys[0].public_numbers() == keys[1].public_numbers()
    assert clients.call(certificates=chains(first))["changed"]


@pytest.mark.parametrize(
    "damage", [lambda path: path.write_text("half a k"), lambda path: path.write_bytes(new_rsa_key())]
)
def test_a_waiting_key_that_is_damaged_or_of_another_type_is_made_anew(
    clients: Clients, alice: User, damage: Any
) -> None:
    clients.call()
    damage(alice.store / "pending/app.key")
    again = clients.call()
    assert again["changed"]
    assert clients.call(certificates=chains(again))["changed"]


def test_a_key_that_is_in_use_already_is_not_used_again(clients: Clients, alice: User) -> None:
    clients.converge()
    key = alice.store / "current/app/postgresql.key"
    shutil.copy2(key, alice.store / "pending/app.key")  # as after a death right behind the commit
    shutil.chown(alice.store / "pending/app.key", alice.name)
    before = key.read_bytes()
    clients.converge(renew=True)
    assert key.read_bytes() != before


def test_a_waiting_key_with_a_passphrase_is_made_anew_without_asking(clients: Clients, alice: User) -> None:
    clients.call()
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8)
    encrypted = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        *form, serialization.BestAvailableEncryption(b"passphrase")
    )
    (alice.store / "pending/app.key").write_bytes(encrypted)
    assert clients.converge()["changed"]


def new_rsa_key() -> bytes:
    return rsa.generate_private_key(65537, 2048).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def test_a_death_at_any_file_operation_leaves_the_old_files_or_the_new_ones(clients: Clients, alice: User) -> None:
    for name in ("postgresql.crt", "root.crt"):
        alice.write(f".postgresql/{name}", f"foreign {name}")
    alice.write(".pg_service.conf", "[old]\nhost=db0\n")
    certificates = chains(clients.call())
    before, saved = used(alice), alice.home.with_name("saved")
    copy(alice.home, saved)
    clients.call(certificates=certificates)
    after = used(alice)
    copy(saved, alice.home)
    seen = []
    for _number in faults.deaths(lambda: clients.call(certificates=certificates)):
        clients.call()  # the next run's first call: it undoes what is half done, and asks if need be
        assert used(alice) in (before, after)
        seen.append(used(alice) == after)
        clients.call(certificates=certificates)
        assert used(alice) == after
        left = [
            path
            for path in faults.everything(alice.home)
            if "pgops-new" in path or "staging" in path or "backup" in path
        ]
        assert left == []
        copy(saved, alice.home)
    assert seen[-1]
    assert seen.count(False) > 60


def test_a_death_while_a_key_is_made_keeps_everything_as_it_is(clients: Clients, alice: User) -> None:
    clients.converge()
    saved = alice.home.with_name("saved")
    copy(alice.home, saved)
    before = used(alice)
    for _number in faults.deaths(lambda: clients.call(renew=True)):
        assert used(alice) == before
        assert clients.converge(renew=True)["changed"]
        copy(saved, alice.home)


def test_a_failing_file_operation_is_undone_at_once(clients: Clients, alice: User) -> None:
    clients.converge()
    request = clients.call(renew=True)
    certificates = chains(request)
    before, saved = used(alice), alice.home.with_name("saved")
    copy(alice.home, saved)
    undone = 0
    for number in itertools.count():
        with faults.failing(number) as failed, contextlib.suppress(TlsError):
            clients.call(renew=True, certificates=certificates)
        if not failed:
            break
        undone += used(alice) == before
        assert not (alice.store / "journal.json").exists()
        copy(saved, alice.home)
    assert undone > 30


def copy(source: Path, target: Path) -> None:
    shutil.rmtree(target, ignore_errors=True)
    subprocess.run(["cp", "-a", source, target], check=True)


# Users who plant things: everything is done with their own rights


@pytest.mark.parametrize("victim", ["/etc", "/root"])
def test_a_link_in_the_place_of_the_directory_gives_the_user_nothing(
    clients: Clients, alice: User, victim: str
) -> None:
    before = sorted(os.listdir(victim))
    alice.default.symlink_to(victim)
    with pytest.raises(TlsError, match=r"\.postgresql"):
        clients.call()
    assert sorted(os.listdir(victim)) == before


@pytest.mark.parametrize("path", ["pgops", "pgops/generations", "pgops/pending", "pgops/generations/.staging"])
def test_links_planted_below_give_the_user_nothing(clients: Clients, alice: User, tmp_path: Path, path: str) -> None:
    secret = tmp_path / "only for root"
    secret.mkdir(mode=0o700)
    (alice.default / path).parent.mkdir(parents=True)
    (alice.default / path).symlink_to(secret)
    subprocess.run(["chown", "-hR", alice.name, alice.default], check=True)
    with contextlib.suppress(TlsError):
        clients.converge()
    assert list(secret.iterdir()) == []


@pytest.mark.parametrize("name", ["app/postgresql.key", "app/postgresql.crt", "root.crt"])
def test_a_link_to_a_foreign_file_is_neither_read_nor_changed(
    clients: Clients, alice: User, tmp_path: Path, name: str
) -> None:
    secret = tmp_path / "secret"
    secret.write_text("the secret of root")
    secret.chmod(0o600)
    clients.converge()
    path = alice.store / "generations/0001" / name
    path.unlink()
    path.symlink_to(secret)
    result = clients.converge()
    assert result["changed"]
    assert secret.read_text() == "the secret of root"
    assert (secret.stat().st_uid, stat.S_IMODE(secret.stat().st_mode)) == (0, 0o600)
    assert "the secret of root" not in json.dumps(faults.everything(alice.home), default=str)


@pytest.mark.parametrize("mode", [0o644, 0o600])
def test_a_service_file_that_leads_elsewhere_is_refused(clients: Clients, alice: User, mode: int) -> None:
    victim = alice.home.with_name("victim")
    victim.write_text("")
    victim.chmod(mode)
    alice.service_file.symlink_to(victim)
    with pytest.raises(TlsError, match=r"\.pg_service\.conf: belongs to the user id 0"):
        clients.call()
    assert victim.read_text() == ""


def test_a_journal_made_up_by_the_user_is_carried_out_with_the_users_rights(clients: Clients, alice: User) -> None:
    clients.converge()
    victim = alice.home.with_name("victim")
    victim.write_text("root's")
    change = {"path": str(victim), "before": {"kind": "absent"}, "written": {"kind": "file"}, "aside": None}
    text = json.dumps({"previous": "0001", "staged": None, "changes": [change]})
    alice.write(".postgresql/pgops/journal.json", text, 0o600)
    with pytest.raises(TlsError, match=f"victim: Permission denied.*for OS user '{alice.name}'"):
        clients.call()
    assert victim.read_text() == "root's"


@pytest.mark.parametrize(
    "text",
    [
        '{"changes": [1], "previous": null, "staged": null}',
        '{"changes": [{}], "previous": "0001", "staged": "0002"}',
        '{"changes": [], "previous": [], "staged": {}}',
        '{"changes": {"a": "b"}, "previous": "0001", "staged": null}',
        '{"changes": [{"path": 1, "before": {"kind": "absent"}, "written": {}, "aside": null}], "previous": null}',
    ],
)
def test_a_journal_of_nonsense_is_an_error_and_no_traceback(clients: Clients, alice: User, text: str) -> None:
    clients.converge()
    alice.write(".postgresql/pgops/journal.json", text, 0o600)
    with pytest.raises(TlsError, match=r"journal\.json"):
        clients.call()


@pytest.mark.parametrize("path", [".pg_service.conf", ".postgresql/postgresql.crt", ".postgresql/pgops"])
def test_a_pipe_is_refused_and_never_waited_for(clients: Clients, alice: User, path: str) -> None:
    alice.default.mkdir()
    os.mkfifo(alice.home / path)
    subprocess.run(["chown", "-R", alice.name, alice.home], check=True)
    with pytest.raises(TlsError, match=path.rsplit("/", maxsplit=1)[-1]):
        clients.call()


def test_a_huge_file_of_the_user_does_not_take_the_memory_of_root(clients: Clients, alice: User) -> None:
    with alice.write(".pg_service.conf", "").open("wb") as stream:
        stream.truncate(1 << 40)
    with pytest.raises(TlsError, match=r"\.pg_service\.conf: expected at most"):
        clients.call()


def test_a_pipe_among_our_own_files_is_replaced(clients: Clients, alice: User) -> None:
    clients.converge()
    path = alice.store / "generations/0001/app/postgresql.key"
    path.unlink()
    os.mkfifo(path)
    assert clients.converge()["reasons"] == [f"{alice.name}/app: key_missing"]


def test_the_ids_of_the_process_are_its_own_again_afterwards(clients: Clients) -> None:
    before = os.getresuid(), os.getresgid(), os.getgroups()
    clients.converge()
    with contextlib.suppress(TlsError):
        clients.call(identities=[{"role": "app", "os_user": "daemon"}])
    assert (os.getresuid(), os.getresgid(), os.getgroups()) == before


def test_the_user_itself_may_run_it_and_nobody_else(clients: Clients, alice: User, bob: User) -> None:
    def as_user(user: User) -> int:
        child = os.fork()
        if child == 0:
            status = 3
            try:
                os.initgroups(user.name, pwd.getpwnam(user.name).pw_gid)
                os.setgid(pwd.getpwnam(user.name).pw_gid)
                os.setuid(user.uid)
                status = 0 if clients.converge()["changed"] else 1
            except TlsError as error:
                status = 2 if "become: true" in error.message else 3
            finally:
                os._exit(status)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

    assert as_user(bob) == 2
    assert not alice.default.exists()
    assert as_user(alice) == 0


# Bad input


def test_an_os_user_without_home_is_refused(clients: Clients, alice: User) -> None:
    shutil.rmtree(alice.home)
    with pytest.raises(TlsError, match=f"OS user '{alice.name}': the home directory '{alice.home}'.*does not exist"):
        clients.call()


def test_a_home_that_belongs_to_somebody_else_is_refused(clients: Clients, alice: User) -> None:
    shutil.chown(alice.home, "root")
    with pytest.raises(TlsError, match=f"{alice.home}: this directory belongs to the user id 0, expected {alice.uid}"):
        clients.call()


@pytest.mark.parametrize("name", [".postgresql", ".postgresql/pgops", ".postgresql/pgops/generations"])
def test_a_directory_of_ours_that_belongs_to_root_is_named(clients: Clients, alice: User, name: str) -> None:
    clients.converge()
    shutil.chown(alice.home / name, "root")
    with pytest.raises(TlsError, match=f"{alice.home / name}: this directory belongs to the user id 0.*chown -R"):
        clients.call()


@pytest.mark.parametrize("name", [".postgresql/postgresql.crt", ".postgresql/root.crt", ".pg_service.conf"])
def test_a_directory_in_the_place_of_a_file_is_refused(clients: Clients, alice: User, name: str) -> None:
    (alice.home / name).mkdir(parents=True)
    subprocess.run(["chown", "-R", alice.name, alice.home], check=True)
    before = snapshot(alice.home)
    with pytest.raises(TlsError, match=f"{name}: expected a file or nothing, found a directory"):
        clients.call()
    assert snapshot(alice.home) == before


def test_a_file_in_the_place_of_the_directory_is_refused(clients: Clients, alice: User) -> None:
    alice.write(".postgresql", "a file")
    with pytest.raises(TlsError, match=r"\.postgresql: expected a directory, found a file"):
        clients.call()


def test_clocks_too_far_apart_are_refused(clients: Clients, alice: User) -> None:
    with pytest.raises(TlsError, match="301 s ahead of the controller"):
        convergence.converge(target.read(clients.options, NOW), NOW, NOW - 301.0, check_mode=False)
    assert list(alice.home.iterdir()) == []


def test_a_missing_openssl_is_told_before_anything_changes(
    clients: Clients, alice: User, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(processes, "PATH", str(tmp_path))
    with pytest.raises(TlsError, match="The command openssl was not found"):
        clients.call()
    assert list(alice.home.iterdir()) == []


def test_bad_input_for_one_user_changes_nothing_for_another(clients: Clients, alice: User, bob: User) -> None:
    bob.write(".pg_service.conf", "[app]\nhost=mine\n")
    clients.options["identities"].append(identity(bob, "app"))
    with pytest.raises(TlsError, match=f"{bob.service_file}: the service 'app', written by hand"):
        clients.call()
    assert list(alice.home.iterdir()) == []


def test_two_os_users_with_one_home_are_refused(clients: Clients, alice: User, bob: User) -> None:
    subprocess.run(["usermod", "--home", alice.home, bob.name], check=True)
    try:
        with pytest.raises(TlsError, match=f"'{alice.name}' and '{bob.name}' have the same home directory"):
            clients.call(identities=[identity(alice, "one"), identity(bob, "two")])
    finally:
        subprocess.run(["usermod", "--home", bob.home, bob.name], check=True)


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


def test_the_diff_shows_certificates_links_and_the_block_only(clients: Clients, alice: User) -> None:
    alice.write(".pg_service.conf", "[old]\npassword=hunter2\n")
    first = clients.call()
    assert [entry["after_header"] for entry in first["diff"]] == [f"{alice.name}/app"]
    second = clients.call(certificates=chains(first))
    headers = [entry["after_header"] for entry in second["diff"]]
    assert headers == [
        f"{alice.name}/app",
        *(str(alice.default / name) for name in ("postgresql.crt", "postgresql.key", "root.crt")),
        f"{alice.service_file} (managed block)",
    ]
    assert "serial: " in second["diff"][0]["after"]
    assert "hunter2" not in json.dumps([first, second])


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
        issuing.Validity(NOW - 300, NOW + DAY),
    )
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    cluster.write("server.key", key.private_bytes(*form))
    cluster.write("server.crt", certificate.read_der(leaf, "leaf").pem + authority.issuing.pem)
    cluster.write("clients.crt", AUTHORITIES["client"].root.pem)
    cluster.append("postgresql.conf", "ssl = on\nssl_ca_file = 'clients.crt'\n")
    cluster.psql("CREATE ROLE app LOGIN; CREATE ROLE reporting LOGIN")
    cluster.hba("hostssl all app,reporting 127.0.0.1/32 cert", "hostssl all app,reporting ::1/128 cert")
    cluster.reload()
