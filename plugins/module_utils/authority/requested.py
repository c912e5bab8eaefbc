# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A generation that has no certificates yet: the key of an issuing CA, and the request that a company is to sign."""

from __future__ import annotations

import os

from ansible_collections.pgops.tls.plugins.module_utils.authority import keys, store
from ansible_collections.pgops.tls.plugins.module_utils.authority.issuing import Generation
from ansible_collections.pgops.tls.plugins.module_utils.core import files
from ansible_collections.pgops.tls.plugins.module_utils.x509 import certificate

_KEY = "issuing.key"


def read(directory: str, name: str) -> str:
    """Return the request (PEM) of an authority that a company has not answered yet; '' for none. Raises OSError."""
    return (files.read(os.path.join(_folder(directory, name), store.REQUEST)) or b"").decode("ascii", "replace")


def key(directory: str, name: str, passphrase: str | None) -> keys.AuthorityKey:
    """Return the private key of that request. Raises TlsError when it is missing or does not open."""
    folder = _folder(directory, name)
    return keys.from_pem(store.present(folder, _KEY), passphrase, os.path.join(folder, _KEY))


def known_keys(directory: str, name: str) -> set[bytes]:
    """Return the public keys (DER) of all issuing CAs that an authority has had. Raises OSError."""
    folders = [folder for folder, _names, present in os.walk(os.path.join(directory, name)) if "issuing.crt" in present]
    chains = [certificate.read_chain(files.read(os.path.join(one, "issuing.crt")), one) for one in folders]
    return {one.public_key for chain in chains for one in chain}


def write(directory: str, name: str, made: keys.AuthorityKey, csr: str, passphrase: str | None) -> None:
    """Write a request and its key; one rename makes them appear together. The caller holds the lock. Raises OSError."""
    contents = {store.REQUEST: (csr.encode("ascii"), 0o644), _KEY: (keys.to_pem(made, passphrase), 0o600)}
    store.write_folder(os.path.join(directory, name), _folder(directory, name), contents)


def complete(directory: str, name: str, answer: Generation, place: str = "") -> None:
    """Have a request and what a company signed become a generation, by one rename. Raises TlsError, OSError.

    ``place`` is ``staged``, or '' for the next number. What is staged already has issued nothing, and is replaced. The
    caller holds the lock.
    """
    folder, company = _folder(directory, name), answer.company
    if company is None:
        raise ValueError(folder)
    contents = {"root.crt": answer.root.pem, "issuing.crt": answer.issuing.pem, "issuing.crl": answer.crls[-1]}
    contents[store.ABOVE] = "".join(one.pem for one in company.above)
    contents[store.SINCE] = str(company.since)
    for each, text in contents.items():
        files.write_atomically(os.path.join(folder, each), text.encode("ascii"), 0o644)
    note_shared(folder, is_shared=company.is_shared)
    number = store.next_number(directory, name)
    target = store.path(directory, name, place or number)
    if os.path.isdir(target):
        store.replace(folder, target, os.path.join(store.path(directory, name, store.RETIRED), number))
    else:
        store.move(folder, target)


def note_shared(folder: str, *, is_shared: bool) -> None:
    """Note in a folder whether the company signs for others, too: it is asked for as long as the root is trusted."""
    path = os.path.join(folder, store.SHARED)
    if is_shared and not os.path.exists(path):
        files.write_atomically(path, b"", 0o644)
    elif not is_shared and os.path.exists(path):
        os.unlink(path)


def _folder(directory: str, name: str) -> str:
    return store.path(directory, name, store.REQUESTED)
