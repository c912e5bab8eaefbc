# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Client transactions that get a wrong certificate, are killed, or fail at any operation on files or command."""

from __future__ import annotations

import errno
import os
import shutil
from typing import Any

import pytest
from ansible_collections.pgops.tls.plugins.module_utils.client import after_change
from ansible_collections.pgops.tls.plugins.module_utils.core import files
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.core.journal import ASIDE, Journal
from ansible_collections.pgops.tls.plugins.module_utils.x509 import certificate, openssl
from ansible_collections.pgops.tls.tests import fault_matrix, faults
from ansible_collections.pgops.tls.tests.clients import (
    OTHER,
    Clients,
    User,
    chains,
    identity,
    new_rsa_key,
    sign,
    snapshot,
    used,
)
from ansible_collections.pgops.tls.tests.servers import AUTHORITIES, TODAY
from ansible_collections.pgops.tls.tests.shared import DAY, STEP
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
        ({"start": TODAY - 100 * DAY}, "did not issue what was asked for: expired_"),
        ({"start": TODAY + DAY}, "did not issue what was asked for: not_valid_for_another_"),
        ({"public_key": ec.generate_private_key(ec.SECP256R1()).public_key()}, "issued for another key than the one"),
        ({"public_key": ec.generate_private_key(ec.SECP384R1()).public_key()}, "key_type: P-384 instead of P-256"),
    ],
)
def test_a_certificate_that_is_not_what_was_asked_for_is_refused(
    clients: Clients, alice: User, options: dict[str, Any], told: str
) -> None:
    clients.converge()
    request = clients.call(new_keys=True)["requests"][0]
    before = snapshot(alice.home)
    wanted = {"public_key": x509.load_pem_x509_csr(request["csr"].encode()).public_key(), "role": "app", **options}
    with pytest.raises(TlsError, match=f"certificates: {alice.name}/app: .*{told}"):
        clients.call(new_keys=True, certificates={request["id"]: sign(**wanted)})
    assert snapshot(alice.home) == before


def test_a_chain_without_the_issuing_authority_fails_the_rehearsal(clients: Clients, alice: User) -> None:
    clients.converge()
    first = clients.call(new_keys=True)
    before = used(alice)
    leaf_only = {name: chain.split("-\n-")[0] + "-\n" for name, chain in chains(first).items()}
    with pytest.raises(TlsError, match="unable to get local issuer certificate") as caught:
        clients.call(new_keys=True, certificates=leaf_only)
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
    with pytest.raises(TlsError, match="certificates: 'x/y' is not an identity"):
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
    clients.converge(new_keys=True)
    assert key.read_bytes() != before


def test_a_waiting_key_with_a_passphrase_is_made_anew_without_asking(clients: Clients, alice: User) -> None:
    clients.call()
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8)
    encrypted = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        *form, serialization.BestAvailableEncryption(b"passphrase")
    )
    (alice.store / "pending/app.key").write_bytes(encrypted)
    assert clients.converge()["changed"]


# Every fault at every point


class Stage:
    """The home of an OS user before a change, which it can be put back to, and the call that makes the change."""

    def __init__(self, clients: Clients, user: User, scenario: str) -> None:
        self.clients, self.user = clients, user
        self.options = SCENARIOS[scenario](clients, user)
        self.saved = faults.everything(user.home)
        self.start = self.used()
        self.recover()
        self.before = self.used()
        self.change()
        self.after = self.used()
        assert self.before != self.after
        self.reset()

    def used(self) -> dict[str, Any]:
        """Return what programs see; none of them reads which hooks are due."""
        return {path: seen for path, seen in used(self.user).items() if not path.endswith(after_change.MARK)}

    def change(self) -> None:
        self.clients.call(**self.options)

    def recover(self) -> None:
        """Do what the next run does first, without the certificates that it may have to ask for."""
        if self.is_open():
            self.clients.call(**{**self.options, "certificates": {}, "new_keys": False})

    def is_open(self) -> bool:
        return (self.user.store / "journal.json").exists()

    def check(self, fault: faults.Fault, _tried: int) -> None:
        """Check what a fault has left, then let the next run end in the new state."""
        self.check_pairs()
        if not (fault.is_death or fault.is_lasting or self.start != self.before):
            assert not self.is_open(), "an open journal, though somebody was left to undo it"
        self.recover()
        assert self.used() in (self.before, self.after), "not the whole old or new state"
        self.change()
        assert self.used() == self.after
        assert not [path for path in used(self.user) if path.endswith(after_change.MARK)], "a hook that nobody ran"
        again = self.clients.call(**{**self.options, "certificates": {}, "new_keys": False})
        assert again["changes"] == []
        self.check_pairs()
        with files.locked(str(self.user.store), patience=0.0):
            pass  # nobody holds the lock any more
        signs = ["pgops-new", "staging", "backup", "journal.json"]
        if "certificates" in self.options:  # else a fault may have made the run ask for one, and its key waits
            signs.append("pending/")
        left = [path for path in faults.everything(self.user.home) if any(sign in path for sign in signs)]
        if fault.error == errno.EACCES:  # a journal that cannot be read is set aside, for a person to look at
            left = [path for path in left if ASIDE not in path]
        assert left == []

    def check_pairs(self) -> None:
        """Check that what programs find fits together at any moment: each certificate has its key.

        Only where files of others are taken over, three names change one after the other.
        """
        paths = [*self.user.store.glob("current/*/postgresql.crt")]
        if "foreign" not in str(self.before):
            paths.append(self.user.default / "postgresql.crt")
        for path in paths:
            if path.exists():
                leaf = certificate.read_pem(path.read_text(encoding="ascii"), "certificate")[0]
                assert openssl.public_key(str(path.with_suffix(".key"))) == leaf.public_key, f"{path} and its key"

    def reset(self) -> None:
        faults.put_back(self.user.home, self.saved)


def first_set_up(clients: Clients, _user: User) -> dict[str, Any]:
    return {"certificates": chains(clients.call())}


def take_over(clients: Clients, user: User) -> dict[str, Any]:
    """Files of others are where libpq looks; they are kept beside."""
    for name in ("postgresql.crt", "postgresql.key", "root.crt"):
        user.write(f".postgresql/{name}", f"foreign {name}", 0o600)
    user.write(".pg_service.conf", "[old]\nhost=db0\n")
    return first_set_up(clients, user)


def renewal(clients: Clients, _user: User) -> dict[str, Any]:
    clients.converge()
    return {"new_keys": True, "certificates": chains(clients.call(new_keys=True))}


def other_trust(clients: Clients, _user: User) -> dict[str, Any]:
    clients.converge()
    return {"roots": AUTHORITIES["server"].root.pem + OTHER.root.pem}


def first_revocation(clients: Clients, user: User) -> dict[str, Any]:
    """Put a list of others where libpq looks; it is kept beside."""
    clients.converge()
    user.write(".postgresql/root.crl", "foreign root.crl")
    return {"crls": "".join(AUTHORITIES["server"].crls)}


def one_more_identity(clients: Clients, user: User) -> dict[str, Any]:
    clients.converge()
    identities = [*clients.options["identities"], identity(user, "reporting", "shop")]
    return {"identities": identities, "certificates": chains(clients.call(identities=identities))}


def one_identity_less(clients: Clients, user: User) -> dict[str, Any]:
    identities = list(clients.options["identities"])
    clients.converge(identities=[*identities, identity(user, "reporting", "shop")])
    return {"identities": identities}


def of_a_service(clients: Clients, user: User) -> dict[str, Any]:
    """Another service gets a certificate, with everything that may be beside one, and a hook."""
    clients.converge()
    clients.options["server_issuing"] = AUTHORITIES["server"].issuing.pem
    own = {"name": "exporter", "os_user": user.name, "names": ["localhost"], "trusts_clients": True}
    hook = {"command": ["true"]}
    identities = [*clients.options["identities"], {**own, "formats": ["bundle"], "after_change": hook}]
    return {"identities": identities, "certificates": chains(clients.call(identities=identities))}


def without_default_files(clients: Clients) -> list[dict[str, Any]]:
    return [{**one, "default_files": False} for one in clients.options["identities"]]


def default_files_go(clients: Clients, user: User) -> dict[str, Any]:
    """Files of others, which were kept, come back."""
    clients.call(**take_over(clients, user))
    return {"identities": without_default_files(clients)}


def default_files_come(clients: Clients, _user: User) -> dict[str, Any]:
    clients.converge(identities=without_default_files(clients))
    return {"identities": clients.options["identities"]}


def recovery(clients: Clients, user: User) -> dict[str, Any]:
    """Leave what a run left that was killed right before its end: it is undone first, and then done."""
    options = take_over(clients, user)
    with faults.dying():
        clients.call(**options)
    return options


# Each brings a home to the state before a change, and returns the options of the call that makes the change.
SCENARIOS = {
    "first set-up": first_set_up,
    "take-over of foreign files": take_over,
    "renewal": renewal,
    "other trust": other_trust,
    "first revocation": first_revocation,
    "one more identity": one_more_identity,
    "one identity less": one_identity_less,
    "a service": of_a_service,
    "default files go": default_files_go,
    "default files come": default_files_come,
    "recovery": recovery,
}


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_a_fault_at_any_point_leaves_the_old_files_or_the_new_ones(
    clients: Clients, alice: User, scenario: str
) -> None:
    fault_matrix.try_all(Stage(clients, alice, scenario), "client", scenario, sample=61)


def test_a_death_while_a_key_is_made_keeps_everything_as_it_is(clients: Clients, alice: User) -> None:
    clients.converge()
    saved = faults.everything(alice.home)
    before = used(alice)
    for _number in faults.deaths(lambda: clients.call(new_keys=True), STEP):
        assert used(alice) == before
        assert clients.converge(new_keys=True)["changed"]
        faults.put_back(alice.home, saved)


@pytest.mark.parametrize("is_restored", [True, False])
def test_a_failure_says_whether_the_files_before_are_back(
    clients: Clients, alice: User, monkeypatch: pytest.MonkeyPatch, is_restored: bool
) -> None:
    clients.converge()
    before, asked = used(alice), clients.call(new_keys=True)

    def fail(*_arguments: Any, **_options: Any) -> None:
        raise TlsError("The disk is gone.")

    monkeypatch.setattr(Journal, "commit", fail)
    if not is_restored:
        monkeypatch.setattr(Journal, "roll_back", fail)
    with pytest.raises(TlsError, match=r"The disk is gone\.") as caught:
        clients.call(new_keys=True, certificates=chains(asked))
    assert caught.value.details["rolled_back"] is is_restored
    assert (used(alice) == before) is is_restored
