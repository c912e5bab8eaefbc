# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which keystores stay, which truststore is wanted, and which passwords are taken: decisions without a file."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.pgops.tls.plugins.module_utils.authority import issuing
from ansible_collections.pgops.tls.plugins.module_utils.client import keystore, plan, target, user_files
from ansible_collections.pgops.tls.plugins.module_utils.client.home import HomeFiles
from ansible_collections.pgops.tls.plugins.module_utils.client.identities import Identity
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.x509 import openssl, pkcs12
from ansible_collections.pgops.tls.tests.bad_variables import SECRETS
from ansible_collections.pgops.tls.tests.shared import DAY, NOW

SERVER, CLIENT = (issuing.new_authority(name, "P-256", NOW - DAY) for name in ("server", "client"))
KEY, OTHER_KEY = (openssl.new_key("P-256").encode() for _number in range(2))
CHAIN = CLIENT.issuing.pem + CLIENT.root.pem
CREDENTIAL = user_files.Credential(CHAIN.encode(), KEY, CLIENT.issuing)
HELD = pkcs12.Opened(openssl.as_der(KEY), frozenset({CLIENT.root.der, CLIENT.issuing.der}))
APP = Identity("app", "shop", formats=frozenset({"pkcs12"}))
STORE, WORD = "app/postgresql.p12", "app/postgresql.p12.password"


def found(**held: pkcs12.Opened) -> HomeFiles:
    return HomeFiles("0001", {STORE: b"store", WORD: b"a password"}, {}, {}, {}, None, held)


def test_a_keystore_that_holds_key_and_chain_stays_with_its_password() -> None:
    kept = keystore.kept(APP, CREDENTIAL, found(app=HELD))
    assert kept == {"postgresql.p12": b"store", "postgresql.p12.password": b"a password"}
    declared = APP._replace(pkcs12_password="of the inventory")
    assert keystore.kept(declared, CREDENTIAL, found(app=HELD)) == {"postgresql.p12": b"store"}


@pytest.mark.parametrize(
    "held",
    [
        {},
        {"app": HELD._replace(key=openssl.as_der(OTHER_KEY))},
        {"app": HELD._replace(key=b"")},
        {"app": HELD._replace(certificates=frozenset({CLIENT.issuing.der}))},
        {"app": HELD._replace(certificates=HELD.certificates | {SERVER.root.der})},
        {"other": HELD},
    ],
)
def test_any_other_one_is_made_again(held: dict[str, pkcs12.Opened]) -> None:
    made = {"postgresql.p12": keystore.TO_MAKE, "postgresql.p12.password": b"a password"}
    assert keystore.kept(APP, CREDENTIAL, found(**held)) == made
    without = found(**held)._replace(contents={STORE: b"store"})
    assert keystore.kept(APP, CREDENTIAL, without)["postgresql.p12.password"] == keystore.TO_MAKE
    assert set(keystore.kept(APP, CREDENTIAL, None).values()) == {keystore.TO_MAKE}


def wanted(*formats: str) -> target.Target:
    options: dict[str, Any] = {
        "identities": [{"role": "app", "os_user": "shop", "formats": list(formats)}],
        "key_type": "P-256",
        "roots": SERVER.root.pem,
        "issuing": CLIENT.issuing.pem,
        "trusted_clients": CLIENT.root.pem,
    }
    return target.read(options, NOW)


@pytest.mark.parametrize(
    ("formats", "before", "told"),
    [
        (["truststore"], None, ["shop: truststore.p12: new"]),
        (["truststore"], pkcs12.truststore([CLIENT.root]), ["shop: truststore.p12: changed"]),
        (["truststore"], pkcs12.truststore([SERVER.root]), []),
        (["pem"], pkcs12.truststore([SERVER.root]), ["shop: truststore.p12: removed"]),
        (["pem"], None, []),
    ],
)
def test_the_truststore_is_compared_with_the_roots(formats: list[str], before: bytes | None, told: list[str]) -> None:
    declared = wanted(*formats)
    trusts = {"root.crt": SERVER.root.pem.encode(), **({"truststore.p12": before} if before else {})}
    state = HomeFiles("0001", trusts, {}, {}, {}, None)
    needs = plan.Needs({"app": ["missing"]}, [])
    made = plan.make(declared.identities, needs, state, declared, plan.Layout({}, "services", None))
    assert [one for one in made.changes if "truststore" in one] == told
    hooked = plan.changed(declared.identities, {}, state, {"root.crt": trusts["root.crt"]})
    assert hooked == (["app"] if before and "truststore" in formats else []), "who does not use it needs no restart"


@pytest.mark.parametrize(("passwords", "told"), SECRETS)
def test_a_bad_password_is_refused_and_not_shown(passwords: Any, told: str) -> None:
    with pytest.raises(TlsError, match=f"here: .*{told}") as caught:
        keystore.with_declared([APP], passwords, "here")
    shown = passwords.values() if isinstance(passwords, dict) else []
    assert not any(str(one) in caught.value.message for one in shown)


def test_passwords_are_given_to_their_identities() -> None:
    others = [APP, APP._replace(role="clerk"), APP._replace(role="plain", formats=frozenset())]
    given = keystore.with_declared(others, {"shop/clerk": "a good one"}, "here")
    assert [one.pkcs12_password for one in given] == ["", "a good one", ""]
    with pytest.raises(TlsError, match=r"'shop/plain' is not an identity .* Expected one of: shop/app, shop/clerk\."):
        keystore.with_declared(others, {"shop/plain": "a good one"}, "here")
    assert keystore.with_declared(others, {"bob/app": "a good one"}, "here", may_have_others=True) == others
