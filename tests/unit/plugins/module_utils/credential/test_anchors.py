# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is trusted: in every form that libpq reads, and never with a private key beside it."""

from __future__ import annotations

import itertools

import pytest
from ansible_collections.pgops.tls.plugins.module_utils.credential import spec
from ansible_collections.pgops.tls.plugins.module_utils.x509 import certificate, rehearsal
from ansible_collections.pgops.tls.tests import anchors, clients
from ansible_collections.pgops.tls.tests.anchors import self_signed
from ansible_collections.pgops.tls.tests.properties import attempt
from ansible_collections.pgops.tls.tests.servers import AUTHORITIES, TODAY
from ansible_collections.pgops.tls.tests.shared import DAY

SERVER_ROOT = AUTHORITIES["server"].root
SNAKEOIL = self_signed("debian", "debian")
KINDS = {
    "a root": SERVER_ROOT.pem,
    "a leaf": SNAKEOIL.pem,
    "neither": self_signed("neither", is_ca=None).pem,
    "a leaf that names its key": self_signed("named", names_key=True).pem,
    "an issuing CA": AUTHORITIES["server"].issuing.pem,
}


@pytest.mark.parametrize("form", anchors.FORMS)
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_read_in_every_form_and_becomes_plain(kind: str, form: str) -> None:
    found = spec.anchors(anchors.FORMS[form](KINDS[kind]), "roots")
    assert spec.plain_pem(found) == KINDS[kind]


def test_several_are_read_in_their_order_whatever_is_between_them() -> None:
    text = "".join(f"# {form}\n{made(pem)}\n" for (form, made), pem in zip(anchors.FORMS.items(), KINDS.values()))
    assert spec.plain_pem(spec.anchors(text, "roots")) == "".join(KINDS.values())


@pytest.mark.parametrize("form", anchors.FORMS)
def test_what_is_trusted_in_memory_is_the_same(form: str) -> None:
    context = rehearsal.client_context(anchors.FORMS[form](SNAKEOIL.pem) + SERVER_ROOT.pem)
    assert context.cert_store_stats()["x509"] == 2


def test_issuing_cas_are_cas() -> None:
    _found, message = attempt(spec.authorities, SNAKEOIL.pem, "issuing")
    assert message == "issuing: expected certificates of authorities, found one of 'debian', a leaf. Remove it."


def test_a_leaf_that_somebody_else_has_signed_is_refused() -> None:
    leaf = clients.sign(AUTHORITIES["client"].issuing_key.public_key(), "app")
    _found, message = attempt(spec.anchors, SERVER_ROOT.pem + leaf, "roots")
    assert message.startswith("roots: expected certificates of authorities, or self-signed ones, found one of 'app'")


def test_one_name_and_another_key_are_not_self_signed() -> None:
    named = certificate.read_pem(self_signed("named", names_key=True).pem, "it")[0]
    assert named.is_self_signed
    other = named._replace(authority_key_id="00")
    assert other.is_self_issued
    assert not other.is_self_signed
    _nothing, message = attempt(spec.refuse_without_root, [other], "roots", TODAY)
    assert message.startswith("roots: expected at least one self-signed root that is valid now, found 'named'.")


def test_trust_settings_of_openssl_are_not_left_out_in_silence() -> None:
    text = SERVER_ROOT.pem + SNAKEOIL.pem.replace(" CERTIFICATE", " TRUSTED CERTIFICATE")
    _found, message = attempt(spec.anchors, text, "roots")
    assert message.startswith("roots: expected plain PEM certificates, found one with trust settings of OpenSSL")


@pytest.mark.parametrize("form", anchors.KEYS)
def test_a_key_beside_them_is_refused_wherever_it_is_and_not_shown(form: str) -> None:
    key = anchors.KEYS[form]
    for text in (
        key + SERVER_ROOT.pem,
        SERVER_ROOT.pem + key,
        SERVER_ROOT.pem + key + SNAKEOIL.pem,
        anchors.with_text(SERVER_ROOT.pem) + key,
    ):
        for read, option in itertools.product((spec.anchors, spec.authorities, certificate.read_option), ("a", "b")):
            found, message = attempt(read, text, option)
            assert found is None
            assert message.startswith(f"{option}: expected only what is public, found a private key.")
            assert not any(line in message for line in anchors.body(key))


# What there is to say of them


def warnings(*pems: str) -> list[str]:
    return spec.anchor_warnings(spec.anchors("".join(pems), "roots"), "roots", TODAY)


def test_nothing_is_said_of_those_that_are_valid() -> None:
    assert warnings(*KINDS.values(), SNAKEOIL.pem) == []


def test_those_that_are_not_valid_now_are_named_with_their_dates() -> None:
    ended = self_signed("old CA", is_ca=True, start=0, days=365)
    early = self_signed("next CA", is_ca=True, start=TODAY + DAY)
    first, second = warnings(SERVER_ROOT.pem, ended.pem, early.pem)
    assert first == (
        "roots: 'old CA' is valid only from 1970-01-01T00:00:00Z to 1971-01-01T00:00:00Z. OpenSSL refuses it now, and "
        "every certificate below it. This run keeps it. Remove or replace it."
    )
    assert second.startswith("roots: 'next CA' is valid only from ")


def test_one_without_a_common_name_is_named_by_its_serial_number() -> None:
    one = certificate.read_pem(self_signed("x", start=0).pem, "it")[0]._replace(common_name="", serial=0xABC)
    assert spec.anchor_warnings([one], "roots", TODAY)[0].startswith("roots: the certificate with serial number abc is")


def test_two_self_signed_ones_of_one_name_are_told_since_openssl_knows_the_first_one_alone() -> None:
    first, second, ended = self_signed("db1"), self_signed("db1", is_ca=None), self_signed("db1", start=0)
    [told] = warnings(first.pem, second.pem)
    assert told.startswith("roots: 'db1' has the same name as a self-signed certificate before it")
    assert len(warnings(ended.pem, first.pem)) == 1, "it has ended, and is passed over"
    named = [self_signed("db1", names_key=True).pem for _each in range(2)]
    assert warnings(*named) == []
