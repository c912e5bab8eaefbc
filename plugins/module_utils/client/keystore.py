# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Key and chain of an identity as PKCS#12, whose password is beside it or in the inventory.

Such a file is salted, so one that is made again has other bytes. One that opens and holds what it should stays.
"""

from __future__ import annotations

import os
import secrets
from typing import TYPE_CHECKING, Any, Mapping, Sequence

from ansible_collections.pgops.tls.plugins.module_utils.client import values
from ansible_collections.pgops.tls.plugins.module_utils.client.home import (
    CERTIFICATE,
    KEY,
    KEYSTORE,
    MODES,
    PASSWORD,
    TRUSTSTORE,
    Home,
    HomeFiles,
)
from ansible_collections.pgops.tls.plugins.module_utils.core import files
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError, shown
from ansible_collections.pgops.tls.plugins.module_utils.core.generations import File
from ansible_collections.pgops.tls.plugins.module_utils.x509 import openssl, pkcs12
from ansible_collections.pgops.tls.plugins.module_utils.x509.certificate import Certificate, read_pem

if TYPE_CHECKING:
    from ansible_collections.pgops.tls.plugins.module_utils.client.identities import Identity
    from ansible_collections.pgops.tls.plugins.module_utils.client.target import Target
    from ansible_collections.pgops.tls.plugins.module_utils.client.user_files import Credential

TO_MAKE = b""  # in place of a file whose bytes are not known before it is made
_BYTES = 24  # of a password that is made here, before it is written in hexadecimal
_SHORTEST = 6  # characters of a password: Java's own tools refuse less


def with_declared(
    identities: Sequence[Identity], passwords: Any, source: str, *, may_have_others: bool = False
) -> list[Identity]:
    """Return identities with the passwords that are declared by their ids. Raises TlsError, which shows no password.

    ``may_have_others``: passwords of other identities do no harm.
    """
    if not isinstance(passwords, Mapping):
        raise TlsError(
            f"{source}: found a value of type {type(passwords).__name__}, expected a dictionary by OS_USER/NAME.",
            code="keystore_passwords_invalid",
        )
    known = [one.id for one in identities if one.has_keystore]
    unknown = [one for one in passwords if one not in known]
    if unknown and not may_have_others:
        raise TlsError(
            f"{source}: {shown(unknown[0])} is not an identity (OS_USER/NAME) of this host with pkcs12 in its formats. "
            f"Expected one of: {', '.join(known) or 'none'}.",
            remedy="Correct it, add pkcs12 to its formats, or remove the password.",
            code="keystore_password_unused",
        )
    for name in known:
        if name in passwords:
            values.password(passwords[name], f"{source}: {name}", _SHORTEST, "keystore_password_invalid")
    return [one._replace(pkcs12_password=passwords.get(one.id, "")) for one in identities]


def look(found: HomeFiles, identities: Sequence[Identity], home: Home) -> HomeFiles:
    """Return what there is, with what the keystores of these identities hold. Called for those that have one."""
    opened = {}
    for one in identities:
        secret = _known_password(one, found)
        if secret and f"{one.name}/{KEYSTORE}" in found.contents:
            path = home.store.path(found.generation or "", one.name, KEYSTORE)
            opened[one.name] = pkcs12.opened(path, secret, home.user)
    return found._replace(keystores={name: one for name, one in opened.items() if one})


def with_passwords(coming: HomeFiles, in_use: HomeFiles) -> HomeFiles:
    """Return what a former generation has, with the passwords in use for keystores that it has none for."""
    secrets_ = {path: content for path, content in in_use.contents.items() if os.path.basename(path) == PASSWORD}
    return coming._replace(contents={**secrets_, **coming.contents})


def kept(identity: Identity, credential: Credential, found: HomeFiles | None) -> dict[str, bytes]:
    """Return the keystore that an identity has, if it is as it should be, else what is ``TO_MAKE``; by file names.

    A password that programs have been told stays.
    """
    secret = _known_password(identity, found) if found else ""
    is_right = found is not None and found.keystores.get(identity.name) == _expected(credential.key, credential.chain)
    store = found.contents[f"{identity.name}/{KEYSTORE}"] if found and is_right else TO_MAKE
    beside = {} if identity.pkcs12_password else {PASSWORD: secret.encode("ascii") or TO_MAKE}
    return {KEYSTORE: store, **beside}


def make_missing(
    contents: dict[str, File], credentials: Mapping[Identity, Credential], found: HomeFiles, home: Home
) -> None:
    """Make the keystores that are ``TO_MAKE`` in the files of a generation. Raises TlsError."""
    for identity, credential in credentials.items():
        path = f"{identity.name}/{KEYSTORE}"
        if path in contents and contents[path].content == TO_MAKE:
            for name, content in _made(identity, credential, found, home).items():
                contents[f"{identity.name}/{name}"] = File(content, MODES[name])


def _made(identity: Identity, credential: Credential, found: HomeFiles, home: Home) -> dict[str, bytes]:
    """Return a new keystore by file names."""
    secret = _known_password(identity, found) or secrets.token_hex(_BYTES)
    content = {KEYSTORE: pkcs12.keystore(credential.key, credential.chain, secret, home.user)}
    return content if identity.pkcs12_password else {**content, PASSWORD: secret.encode("ascii")}


def refuse_other(identity: Identity, directory: str, home: Home) -> None:
    """Raise TlsError if the keystore in a directory does not hold its key and its chain."""
    key, chain, beside = (files.read(os.path.join(directory, name)) or b"" for name in (KEY, CERTIFICATE, PASSWORD))
    secret, path = identity.pkcs12_password or beside.decode("ascii", "replace"), os.path.join(directory, KEYSTORE)
    if pkcs12.opened(path, secret, home.user) != _expected(key, chain):
        raise TlsError(
            f"{path}: expected the key in {KEY} and the chain in {CERTIFICATE}, found something else.",
            remedy="Rerun.",
            code="keystore_differs",
        )


def refuse_other_truststores(identities: Sequence[Identity], directory: str, target: Target, home: Home) -> None:
    """Raise TlsError if a truststore in a generation does not hold the roots of its identities."""
    if any(one.has_truststore and not one.is_managed for one in identities):
        _refuse_other_truststore(directory, target.roots, home)
    for one in identities:
        if one.has_truststore and one.is_managed:
            _refuse_other_truststore(os.path.join(directory, one.name), target.trust[one.id], home)


def _refuse_other_truststore(directory: str, roots: Sequence[Certificate], home: Home) -> None:
    """Raise TlsError if the truststore in a directory does not hold the roots."""
    path = os.path.join(directory, TRUSTSTORE)
    if pkcs12.opened(path, "", home.user) != pkcs12.Opened(b"", frozenset(one.der for one in roots)):
        raise TlsError(f"{path}: expected the roots, found something else.", remedy="Rerun.", code="truststore_differs")


def _expected(key: bytes, chain: bytes) -> pkcs12.Opened:
    certificates = read_pem(chain.decode("ascii", "replace"), CERTIFICATE)
    return pkcs12.Opened(openssl.as_der(key), frozenset(one.der for one in certificates))


def _known_password(identity: Identity, found: HomeFiles) -> str:
    """Return the password of an identity's keystore, '' if there is none yet, or what is beside it is none."""
    beside = found.contents.get(f"{identity.name}/{PASSWORD}", b"").decode("ascii", "replace")
    return identity.pkcs12_password or (beside if values.is_password(beside, _SHORTEST) else "")
