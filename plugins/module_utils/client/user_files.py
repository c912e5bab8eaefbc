# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The files of a generation of one OS user: certificates, keys, other forms of both, and what is trusted."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any, Iterable, Mapping, NamedTuple

from ansible_collections.pgops.tls.plugins.module_utils.client.home import (
    BUNDLE,
    CERTIFICATE,
    CLIENT_LISTS,
    CLIENTS,
    ENVIRONMENT,
    KEY,
    LISTS,
    MANIFEST,
    MODES,
    PK8,
    TRUST,
    TRUSTSTORE,
    HomeFiles,
)
from ansible_collections.pgops.tls.plugins.module_utils.core import files
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError, shown
from ansible_collections.pgops.tls.plugins.module_utils.core.generations import File
from ansible_collections.pgops.tls.plugins.module_utils.core.lazy_import import lazy_import
from ansible_collections.pgops.tls.plugins.module_utils.x509.certificate import Certificate, read_chain

if TYPE_CHECKING:
    from ansible_collections.pgops.tls.plugins.module_utils.client import keystore, managed, parameters
    from ansible_collections.pgops.tls.plugins.module_utils.client.identities import Identity
    from ansible_collections.pgops.tls.plugins.module_utils.client.target import Target
    from ansible_collections.pgops.tls.plugins.module_utils.x509 import openssl, pkcs12
else:
    keystore = lazy_import("client.keystore")
    managed = lazy_import("client.managed")
    parameters = lazy_import("client.parameters")
    openssl = lazy_import("x509.openssl")
    pkcs12 = lazy_import("x509.pkcs12")

PEM, ONE_FILE, DER, KEYSTORE, TRUSTED = "pem", "bundle", "pk8", "pkcs12", "truststore"
VARIABLES = "environment"
FORMATS = (PEM, ONE_FILE, DER, KEYSTORE, TRUSTED, VARIABLES)


class Credential(NamedTuple):
    """A chain (leaf first) and its private key, as bytes of PEM files, and the leaf that was read from the chain."""

    chain: bytes
    key: bytes
    leaf: Certificate


def formats(value: Any, source: str, *, has_key: bool) -> frozenset[str]:
    """Return the forms of key and certificate beside PEM files. Raises TlsError, naming ``source``."""
    listed = [PEM] if value is None else value
    wrong = [one for one in listed if one not in FORMATS] if isinstance(listed, (list, tuple)) else [value]
    if wrong:
        raise TlsError(
            f"{source}: found {shown(wrong[0])}, expected some of {', '.join(FORMATS)}.",
            code="format_unknown",
        )
    found = frozenset(listed) - {PEM}
    of_key = found - {TRUSTED}
    if of_key and not has_key:
        raise TlsError(
            f"{source}: found {', '.join(sorted(of_key))} for an identity with a password, which has no key.",
            remedy=f"Keep at most {TRUSTED} in formats.",
            code="format_without_key",
        )
    return found


def installed(found: HomeFiles, name: str) -> Credential | None:
    """Return the credential of an identity in the current generation; None when it is missing or cannot be used."""
    chain, key = found.contents.get(f"{name}/{CERTIFICATE}"), found.contents.get(f"{name}/{KEY}")
    if chain is None or key is None:
        return None
    read = read_chain(chain, CERTIFICATE)
    return Credential(chain, key, read[0]) if read else None


def leaves(found: HomeFiles) -> dict[str, Certificate]:
    """Return the leaves of a generation by the names of identities."""
    credentials = {name: installed(found, name) for name in found.names()}
    return {name: credential.leaf for name, credential in credentials.items() if credential}


def kept(found: HomeFiles) -> dict[str, Certificate]:
    """Return the leaves that stay as they are, by name."""
    return {name: leaf for name, leaf in leaves(found).items() if name in found.kept}


def trust(target: Target) -> bytes:
    """Return the bytes of root.crt."""
    return "".join(root.pem for root in target.roots).encode("ascii")


def lists(target: Target) -> dict[str, bytes]:
    """Return root.crl by its name; nothing as long as nothing is revoked."""
    return {LISTS: target.crls.encode("ascii", "replace")} if target.crls else {}


def truststore(identities: Iterable[Identity], target: Target, found: HomeFiles | None = None) -> dict[str, bytes]:
    """Return truststore.p12 by its name; nothing if no identity of the OS user has that format.

    If there is one already, it stays for names whose files stay.
    """
    is_wanted = any(one.has_truststore and not one.is_managed for one in identities)
    stays = found is not None and bool(found.kept) and TRUSTSTORE in found.contents
    return {TRUSTSTORE: pkcs12.truststore(target.roots)} if is_wanted or stays else {}


def contents(
    credentials: Mapping[Identity, Credential],
    target: Target,
    found: HomeFiles | None = None,
    identities: Iterable[Identity] = (),
) -> dict[str, File]:
    """Return the files of a generation by their paths in it.

    ``found`` are those in use. ``identities``: all of the OS user, also those without a certificate.
    """
    by_name = {identity.name: credential for identity, credential in credentials.items()}
    coming = {TRUST: trust(target), MANIFEST: manifest(by_name, found), **lists(target)}
    coming.update(truststore(identities, target, found))
    coming.update(found.kept_files() if found else {})
    coming.update(managed.files(list(identities), target) if target.trust else {})
    for identity, credential in credentials.items():
        coming[f"{identity.name}/{CERTIFICATE}"] = credential.chain
        coming[f"{identity.name}/{KEY}"] = credential.key
        coming.update(derived(identity, credential, target, found))
    return {path: File(content, MODES[os.path.basename(path)]) for path, content in coming.items()}


def derived(
    identity: Identity, credential: Credential, target: Target, found: HomeFiles | None = None
) -> dict[str, bytes]:
    """Return the files of an identity beside its certificate and key, by their paths in a generation.

    A keystore that is not in use yet is ``keystore.TO_MAKE``.
    """
    coming = {}
    if ONE_FILE in identity.formats:
        coming[BUNDLE] = _joined(credential.key, credential.chain)
    if DER in identity.formats:
        coming[PK8] = openssl.as_der(credential.key)
    if identity.has_keystore:
        coming.update(keystore.kept(identity, credential, found))
    if VARIABLES in identity.formats and found is not None:
        coming[ENVIRONMENT] = parameters.environment(identity, found.current, has_lists=bool(target.crls))
    if identity.trusts_clients:
        trusted = target.authorities[identity.authority]
        coming[CLIENTS] = "".join(one.pem for one in trusted.trusted).encode("ascii")
        if trusted.crls:
            coming[CLIENT_LISTS] = trusted.crls.encode("ascii", "replace")
    return {f"{identity.name}/{name}": content for name, content in coming.items()}


def _joined(key: bytes, chain: bytes) -> bytes:
    return key.rstrip(b"\n") + b"\n" + chain


def refuse_other_bundle(directory: str) -> None:
    """Raise TlsError if the bundle in a directory does not hold its key and its chain."""
    bundle, key, chain = (files.read(os.path.join(directory, name)) or b"" for name in (BUNDLE, KEY, CERTIFICATE))
    if bundle != _joined(key, chain):
        raise TlsError(
            f"{directory}/{BUNDLE}: expected the key in {KEY} and the chain in {CERTIFICATE}, found something else.",
            remedy="Rerun.",
            code="bundle_differs",
        )


def manifest(credentials: Mapping[str, Credential], found: HomeFiles | None = None) -> bytes:
    """Return the bytes of manifest.json, by the names of identities. ``found`` are the files in use."""
    coming = {**(kept(found) if found else {}), **{name: one.leaf for name, one in credentials.items()}}
    described = {name: {"serial": f"{one.serial:x}", "sha256": one.sha256} for name, one in sorted(coming.items())}
    return json.dumps({"format": 1, "identities": described}, indent=1).encode("ascii") + b"\n"
