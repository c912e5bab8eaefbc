from __future__ import annotations

import shutil
import ssl
import time
from pathlib import Path
from typing import Any, Callable

import pytest
from ansible_collections.pgops.tls.plugins.module_utils.authority import issuing, profiles
from ansible_collections.pgops.tls.plugins.module_utils.x509 import certificate, names
from ansible_collections.pgops.tls.plugins.module_utils.x509.certificate import Certificate
from ansible_collections.pgops.tls.tests.shared import DAY
from cryptography import x509
from cryptography.hazmat.primitives import serialization

Run = Callable[..., Any]


class Fleet:
    """Two authorities of one key type and, of each, a leaf with a key of another type; all as files for openssl."""

    def __init__(self, folder: Path, key_type: str, leaf_key: Any) -> None:
        self.folder, self.leaf_key = folder, leaf_key
        self.now = int(time.time())  # GnuTLS and Python take no other clock
        names = (profiles.SERVER, profiles.CLIENT)
        self.authorities = {name: issuing.new_authority(name, key_type, self.now) for name in names}
        self.leaves = {name: self._leaf(authority) for name, authority in self.authorities.items()}
        for name, authority in self.authorities.items():
            self.write(f"{name}-root.pem", authority.root.pem)
            self.write(f"{name}-issuing.pem", authority.issuing.pem)
            self.write(f"{name}.pem", self.leaves[name].pem)
            self.write(f"{name}-chain.pem", self.leaves[name].pem + authority.issuing.pem)
        key = leaf_key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        self.write("leaf.key", key.decode("ascii"))

    def _leaf(self, authority: issuing.Authority) -> Certificate:
        if authority.name == profiles.SERVER:
            wanted = ["db1.example", "192.0.2.1", "2001:db8::1"]
            holder = issuing.Holder("db1.example", [names.parse(name, "names") for name in wanted])
        else:
            holder = issuing.Holder("orders", [])
        validity = issuing.Validity(self.now - 300, self.now + 90 * DAY)
        issuer = issuing.Issuer.of(authority.issuing, authority.issuing_key)
        purpose = profiles.purpose(authority.name)
        return certificate.read_der(
            issuing.new_leaf(issuer, purpose, holder, self.leaf_key.public_key(), validity), "leaf"
        )

    def write(self, name: str, text: str) -> None:
        (self.folder / name).write_text(text, encoding="ascii")

    def verify(self, run: Run, authority: str, purpose: str) -> Any:
        """Ask openssl, strictly, whether the leaf of an authority may be used for a purpose."""
        return run(
            "openssl", "verify", "-x509_strict", "-purpose", purpose,
            "-CAfile", self.folder / f"{authority}-root.pem",
            "-untrusted", self.folder / f"{authority}-issuing.pem",
            self.folder / f"{authority}.pem",
        )  # fmt: skip


COMBINATIONS = [
    ("P-256", "P-256"),
    ("P-256", "RSA-2048"),
    ("P-256", "Ed25519"),
    ("P-384", "P-384"),
    ("RSA-3072", "RSA-2048"),
    ("RSA-3072", "P-256"),
]


@pytest.fixture(scope="module", params=COMBINATIONS, ids="-under-".join)
def fleet(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, leaf_keys: dict[str, Any]) -> Fleet:
    key_type, leaf_type = request.param
    return Fleet(tmp_path_factory.mktemp("fleet"), key_type, leaf_keys[leaf_type])


@pytest.mark.parametrize(("authority", "purpose"), [("server", "sslserver"), ("client", "sslclient")])
def test_openssl_accepts_a_leaf_for_its_purpose_strictly(fleet: Fleet, run: Run, authority: str, purpose: str) -> None:
    done = fleet.verify(run, authority, purpose)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(("authority", "purpose"), [("server", "sslclient"), ("client", "sslserver")])
def test_openssl_refuses_a_leaf_for_the_other_purpose(fleet: Fleet, run: Run, authority: str, purpose: str) -> None:
    done = fleet.verify(run, authority, purpose)
    assert done.returncode != 0
    assert "purpose" in done.stderr


def test_openssl_refuses_the_other_authority(fleet: Fleet, run: Run) -> None:
    shutil.copy(fleet.folder / "server-root.pem", fleet.folder / "mixed-root.pem")
    shutil.copy(fleet.folder / "client-issuing.pem", fleet.folder / "mixed-issuing.pem")
    shutil.copy(fleet.folder / "client.pem", fleet.folder / "mixed.pem")
    assert fleet.verify(run, "mixed", "sslclient").returncode != 0


@pytest.mark.skipif(shutil.which("certtool") is None, reason="GnuTLS's certtool is not installed")
@pytest.mark.parametrize(
    ("authority", "purpose", "is_accepted"),
    [
        ("server", certificate.SERVER_AUTH, True),
        ("client", certificate.CLIENT_AUTH, True),
        ("server", certificate.CLIENT_AUTH, False),
        ("client", certificate.SERVER_AUTH, False),
    ],
)
def test_gnutls_agrees(fleet: Fleet, run: Run, authority: str, purpose: str, is_accepted: bool) -> None:
    done = run(
        "certtool", "--verify", "--verify-profile=medium", f"--verify-purpose={purpose}",
        f"--load-ca-certificate={fleet.folder / f'{authority}-root.pem'}",
        f"--infile={fleet.folder / f'{authority}-chain.pem'}",
    )  # fmt: skip
    assert (done.returncode == 0) is is_accepted, done.stdout + done.stderr


@pytest.mark.parametrize("name", ["db1.example", "192.0.2.1", "2001:db8::1"])
def test_python_accepts_every_name_strictly(tmp_path: Path, leaf_keys: dict[str, Any], name: str) -> None:
    fleet = Fleet(tmp_path, "P-256", leaf_keys["P-256"])
    server, client = _contexts(fleet, "server", "client")
    _shake_hands(client, server, name)


def test_python_refuses_a_clients_certificate_as_a_server(tmp_path: Path, leaf_keys: dict[str, Any]) -> None:
    fleet = Fleet(tmp_path, "P-256", leaf_keys["P-256"])
    server, client = _contexts(fleet, "client", "client")
    client.check_hostname = False
    with pytest.raises(ssl.SSLCertVerificationError, match="unsuitable certificate purpose"):
        _shake_hands(client, server, None)


def test_python_refuses_a_servers_certificate_as_a_client(tmp_path: Path, leaf_keys: dict[str, Any]) -> None:
    fleet = Fleet(tmp_path, "P-256", leaf_keys["P-256"])
    server, client = _contexts(fleet, "server", "server")
    with pytest.raises(ssl.SSLCertVerificationError, match="unsuitable certificate purpose"):
        _shake_hands(client, server, "db1.example")


def _contexts(fleet: Fleet, serves: str, logs_in: str) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Return a server that shows the leaf of one authority and a client that shows that of another; both strict."""
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    for context, own, peer in ((server, serves, logs_in), (client, logs_in, serves)):
        context.verify_flags |= ssl.VERIFY_X509_STRICT
        context.load_cert_chain(fleet.folder / f"{own}-chain.pem", fleet.folder / "leaf.key")
        context.load_verify_locations(fleet.folder / f"{peer}-root.pem")
    server.verify_mode = ssl.CERT_REQUIRED
    return server, client


def _shake_hands(client_context: ssl.SSLContext, server_context: ssl.SSLContext, name: str | None) -> None:
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = client_context.wrap_bio(down, up, server_hostname=name)
    server = server_context.wrap_bio(up, down, server_side=True)
    for side in (client, server, client, server):
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:
            continue
    assert server.getpeercert()


def test_every_ca_has_a_name_of_its_own(now: int) -> None:
    made = [issuing.new_authority("server", "P-256", now) for _attempt in range(3)]
    found = [ca.common_name for authority in made for ca in (authority.root, authority.issuing)]
    assert len(set(found)) == 6


def test_serials_are_random_and_of_at_least_128_bits(server_ca: issuing.Authority) -> None:
    assert server_ca.root.serial != server_ca.issuing.serial
    assert all(1 << 128 < ca.serial < 1 << 159 for ca in (server_ca.root, server_ca.issuing))


def test_lives_are_ten_and_five_years_and_start_five_minutes_ago(server_ca: issuing.Authority, now: int) -> None:
    assert server_ca.root.not_before == server_ca.issuing.not_before == now - 300
    assert server_ca.root.not_after == now + 3650 * DAY
    assert server_ca.issuing.not_after == now + 1825 * DAY


def test_the_extensions_are_those_of_the_profile(server_ca: issuing.Authority) -> None:
    root, issued = (x509.load_der_x509_certificate(ca.der) for ca in (server_ca.root, server_ca.issuing))
    for ca, path_length in ((root, 2), (issued, 0)):
        basic = ca.extensions.get_extension_for_class(x509.BasicConstraints)
        usage = ca.extensions.get_extension_for_class(x509.KeyUsage)
        assert (basic.critical, basic.value.ca, basic.value.path_length) == (True, True, path_length)
        assert usage.critical
        assert usage.value.key_cert_sign
        assert usage.value.crl_sign
        assert not usage.value.digital_signature
        assert ca.extensions.get_extension_for_class(x509.SubjectKeyIdentifier)
    assert server_ca.issuing.authority_key_id == server_ca.root.subject_key_id
    assert server_ca.root.extended_key_usage == ()
    assert server_ca.issuing.extended_key_usage == (certificate.SERVER_AUTH,)


@pytest.mark.parametrize(("key_type", "wants_encipherment"), [("P-256", False), ("Ed25519", False), ("RSA-2048", True)])
def test_only_rsa_leaves_may_encipher_keys(
    server_ca: issuing.Authority, leaf_keys: dict[str, Any], now: int, key_type: str, wants_encipherment: bool
) -> None:
    leaf = _leaf(server_ca, leaf_keys[key_type], issuing.Holder("db1", []), now)
    usage = leaf.extensions.get_extension_for_class(x509.KeyUsage)
    assert usage.critical
    assert usage.value.digital_signature
    assert not usage.value.key_cert_sign
    assert usage.value.key_encipherment is wants_encipherment


def test_a_leaf_has_one_purpose_no_ca_rights_and_both_key_identifiers(
    client_ca: issuing.Authority, leaf_keys: dict[str, Any], now: int
) -> None:
    leaf = _leaf(client_ca, leaf_keys["P-256"], issuing.Holder("orders", []), now)
    basic = leaf.extensions.get_extension_for_class(x509.BasicConstraints)
    assert (basic.critical, basic.value.ca) == (True, False)
    read = certificate.read_der(leaf.public_bytes(serialization.Encoding.DER), "leaf")
    assert read.extended_key_usage == (certificate.CLIENT_AUTH,)
    assert read.authority_key_id == client_ca.issuing.subject_key_id
    assert read.subject_key_id


def test_without_a_common_name_the_names_are_critical(
    server_ca: issuing.Authority, leaf_keys: dict[str, Any], now: int
) -> None:
    holder = issuing.Holder("", [names.Name("dns", "db1.example")])
    leaf = _leaf(server_ca, leaf_keys["P-256"], holder, now)
    assert list(leaf.subject) == []
    assert leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).critical


def test_a_certificate_of_another_root_is_not_signed_by_this_one(
    server_ca: issuing.Authority, client_ca: issuing.Authority
) -> None:
    assert issuing.is_signed_by(server_ca.issuing, server_ca.root)
    assert issuing.is_signed_by(server_ca.root, server_ca.root)
    assert not issuing.is_signed_by(server_ca.issuing, client_ca.root)
    assert not issuing.is_signed_by(client_ca.issuing, server_ca.issuing)


def test_signatures_of_rsa_and_ecdsa_are_told_apart(server_ca: issuing.Authority, now: int) -> None:
    other = issuing.new_authority("server", "RSA-3072", now)
    assert issuing.is_signed_by(other.issuing, other.root)
    assert not issuing.is_signed_by(other.issuing, server_ca.root)
    assert not issuing.is_signed_by(server_ca.issuing, other.root)


def _leaf(authority: issuing.Authority, key: Any, holder: issuing.Holder, now: int) -> x509.Certificate:
    der = issuing.new_leaf(
        issuing.Issuer.of(authority.issuing, authority.issuing_key),
        profiles.purpose(authority.name),
        holder,
        key.public_key(),
        issuing.Validity(now, now + DAY),
    )
    return x509.load_der_x509_certificate(der)
