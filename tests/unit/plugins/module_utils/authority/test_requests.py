from __future__ import annotations

import base64
import contextlib
import itertools
from typing import Any, Callable

import pytest
from ansible_collections.pgops.tls.plugins.module_utils.authority import requests
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.x509.names import Name
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, rsa


def server(csr: str | None, **others: Any) -> dict[str, Any]:
    return {"id": "db1", "csr": csr, "names": ["db1.example"], "reasons": [], **others}


def client(csr: str | None, **others: Any) -> dict[str, Any]:
    return {"id": "app1/www/orders", "csr": csr, "role": "orders", "reasons": [], **others}


@pytest.mark.parametrize("key_type", ["P-256", "P-384", "RSA-2048", "Ed25519"])
def test_the_key_of_the_request_is_taken(csr_of: Callable[..., str], leaf_keys: dict[str, Any], key_type: str) -> None:
    key = leaf_keys[key_type]
    found = requests.parse("server", server(csr_of(key))).public_key
    form = (serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    assert found is not None
    assert found.public_bytes(*form) == key.public_key().public_bytes(*form)


def test_the_name_in_the_request_is_ignored(csr_of: Callable[..., str], leaf_keys: dict[str, Any]) -> None:
    csr = csr_of(leaf_keys["P-256"], "postgres")
    assert requests.parse("client", client(csr)).holder == requests.Holder("orders", ())
    assert requests.parse("server", server(csr)).holder.names == [Name("dns", "db1.example")]


def test_the_first_name_that_fits_becomes_the_common_name(csr: str) -> None:
    long = "a" * 63 + ".example"
    found = requests.parse("server", server(csr, names=[long, "192.0.2.1", "db1.example"]))
    assert found.holder.common_name == "192.0.2.1"
    assert requests.parse("server", server(csr, names=[long])).holder.common_name == ""


def test_a_request_without_its_csr_is_only_checked() -> None:
    assert requests.parse("server", server(None)).public_key is None
    assert requests.parse("server", server("")).public_key is None


@pytest.mark.parametrize(
    "role", ["", None, "x" * 64, "ö" * 32, "a\0b", "a\nb", "\x1b[31mred", "a\x7f", "a\u2028b", "a\udc80"]
)
def test_a_role_that_postgresql_cannot_have_is_refused(csr: str, role: str | None) -> None:
    with pytest.raises(TlsError, match=r"requests\[app1/www/orders\]\.role"):
        requests.parse("client", client(csr, role=role))


@pytest.mark.parametrize("role", ["x", "x" * 63, "ö" * 31, "Orders App", "first.last@example", 'a"b', "日本"])
def test_every_other_role_is_taken_as_it_is(csr: str, role: str) -> None:
    assert requests.parse("client", client(csr, role=role)).holder.common_name == role


def test_a_server_has_no_role_and_a_client_no_names(csr: str) -> None:
    with pytest.raises(TlsError, match="authority: client meant"):
        requests.parse("server", server(csr, role="orders"))
    with pytest.raises(TlsError, match="authority: server meant"):
        requests.parse("client", client(csr, names=["db1.example"]))


@pytest.mark.parametrize("wrong", [[], None, [""], ["a b"], ["db1.example", "-x"]])
def test_a_server_without_proper_names_is_refused(csr: str, wrong: list[str] | None) -> None:
    with pytest.raises(TlsError, match=r"requests\[db1\]\.names"):
        requests.parse("server", server(csr, names=wrong))


def test_a_bad_request_is_refused_by_its_id_and_the_others_are_taken(csr: str) -> None:
    bad = [server("garbage", id="db2"), server(csr, id="db3", names=["-x"]), server(None, id="db4")]
    taken, refused = requests.parse_all("server", [bad[0], server(csr), *bad[1:], server(csr, id="db5")], is_dry=False)
    assert [request.id for request in taken] == ["db1", "db5"]
    assert {name: message.split(":")[0] for name, message in refused.items()} == {
        "db2": "requests[db2].csr",
        "db3": "requests[db3].names",
        "db4": "requests[db4].csr",
    }


def test_a_dry_run_needs_no_csr_and_refuses_a_bad_one() -> None:
    taken, refused = requests.parse_all("server", [server(""), server("garbage", id="db2")], is_dry=True)
    assert ([request.id for request in taken], list(refused)) == (["db1"], ["db2"])


def test_an_id_is_there_once(csr: str) -> None:
    for first, second in itertools.product((server(csr), server("garbage")), repeat=2):
        with pytest.raises(TlsError, match="'db1' appears twice"):
            requests.parse_all("server", [first, second], is_dry=False)


@pytest.mark.parametrize("identity", ["", None, "a\nb"])
def test_an_id_is_printable(csr: str, identity: str | None) -> None:
    with pytest.raises(TlsError, match="expected printable text"):
        requests.parse_all("server", [server(csr), server(csr, id=identity)], is_dry=False)


@pytest.mark.parametrize(
    "csr",
    [
        "garbage",
        "ö",
        "-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n",
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    ],
)
def test_what_is_no_request_is_refused(csr: str) -> None:
    with pytest.raises(TlsError, match=r"requests\[db1\]\.csr: expected a certificate request"):
        requests.parse("server", server(csr))


def test_a_request_with_any_byte_changed_is_refused(leaf_keys: dict[str, Any]) -> None:
    der = _der(leaf_keys["P-256"])
    accepted = []
    for position in range(len(der)):
        changed = der[:position] + bytes([der[position] ^ 0x01]) + der[position + 1 :]
        with contextlib.suppress(TlsError):
            requests.parse("server", server(_pem(changed)))
            accepted.append(position)
    # Some versions ignore the count of unused bits before the signature, which is in nothing that is signed or used.
    assert accepted in ([], [der.index(x509.load_der_x509_csr(der).signature) - 1])


def test_a_request_for_a_key_of_somebody_else_is_refused(leaf_keys: dict[str, Any]) -> None:
    ours, theirs = leaf_keys["P-256"], ec.generate_private_key(ec.SECP256R1())
    form = (serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    der = _der(ours).replace(ours.public_key().public_bytes(*form), theirs.public_key().public_bytes(*form))
    with pytest.raises(TlsError, match="signature of the request is wrong"):
        requests.parse("server", server(_pem(der)))


@pytest.mark.parametrize(
    ("key", "found"),
    [
        (rsa.generate_private_key(65537, 1024), "RSA with 1024 bits"),  # noqa: S505 - so weak on purpose
        (ec.generate_private_key(ec.SECP521R1()), "the curve secp521r1"),
        (ec.generate_private_key(ec.SECP256K1()), "the curve secp256k1"),
        (ed448.Ed448PrivateKey.generate(), "another kind of key"),
        (dsa.generate_private_key(2048), "another kind of key"),
    ],
    ids=["RSA-1024", "P-521", "secp256k1", "Ed448", "DSA"],
)
def test_a_key_that_is_weak_or_not_supported_is_refused(key: Any, found: str) -> None:
    with pytest.raises(TlsError, match=rf"requests\[db1\]\.csr: found {found}, expected"):
        requests.parse("server", server(_pem(_der(key))))


def test_words_for_people_tell_who_and_why(csr: str) -> None:
    found = requests.parse("server", server(csr, names=["db1.example", "::1"], reasons=["expires_in_3d", "forced"]))
    assert found.in_words() == "db1: db1.example, ::1 (expires_in_3d; forced)"
    assert requests.parse("client", client(csr)).in_words() == "app1/www/orders: role orders"


def _der(key: Any) -> bytes:
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    algorithm = None if isinstance(key, ed448.Ed448PrivateKey) else hashes.SHA256()
    return builder.sign(key, algorithm).public_bytes(serialization.Encoding.DER)


def _pem(der: bytes) -> str:
    text = base64.encodebytes(der).decode("ascii")
    return f"-----BEGIN CERTIFICATE REQUEST-----\n{text}-----END CERTIFICATE REQUEST-----\n"
