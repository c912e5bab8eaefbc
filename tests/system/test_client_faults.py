# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Client transactions that get a wrong certificate, die, or fail at any file operation."""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
from typing import Any

import pytest
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.x509 import certificate
from ansible_collections.pgops.tls.tests import faults
from ansible_collections.pgops.tls.tests.clients import (
    AUTHORITIES,
    DAY,
    NOW,
    OTHER,
    Clients,
    User,
    chains,
    copy,
    identity,
    new_rsa_key,
    sign,
    snapshot,
    used,
)
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can make OS users")

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
