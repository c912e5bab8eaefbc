# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The directory of the authorities: plain files, each generation of a CA made whole by one rename.

::

    DIRECTORY/server/0001/{root.crt,root.key,issuing.crt,issuing.key}    the server CA
    DIRECTORY/client/0001/{...}                                          the client CA
    DIRECTORY/ledger.jsonl                                               what they issued
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from typing import Iterator

from ansible_collections.pgops.tls.plugins.module_utils.authority import issuing, keys, profiles
from ansible_collections.pgops.tls.plugins.module_utils.core import files
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError, shown
from ansible_collections.pgops.tls.plugins.module_utils.x509 import certificate
from ansible_collections.pgops.tls.plugins.module_utils.x509.certificate import Certificate

_NUMBERED = re.compile(r"[0-9]{4,}")
_STAGING = ".staging"
_FIRST = "0001"


@contextlib.contextmanager
def opened(directory: str) -> Iterator[None]:
    """Hold the lock of the authorities' directory, if it exists; its OSErrors become TlsErrors that say what to do."""
    with _explained(directory), files.locked(directory) if os.path.isdir(directory) else contextlib.nullcontext():
        yield


def make(directory: str) -> None:
    """Make the directory of the authorities, for its owner only. Raises TlsError."""
    with _explained(directory):
        files.make_directory(directory, 0o700)


@contextlib.contextmanager
def _explained(directory: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise TlsError(
            f"{error.filename or directory}: {error.strerror or error} (as user id {os.geteuid()}). "
            f"Expected a directory {directory} that this user can read and write, with free space."
        ) from error


def check_path(directory: str) -> None:
    """Raise TlsError for a directory that is not absolute or that is another kind of file."""
    if not os.path.isabs(directory) or not directory.isprintable():
        raise TlsError(
            f"directory: expected an absolute path, found {shown(directory)}. "
            "Role postgres_ca: set postgres_ca_directory."
        )
    if os.path.lexists(directory) and not os.path.isdir(directory):
        raise TlsError(f"{directory}: expected a directory (or nothing yet), found another kind of file.")


def check_writable(directory: str) -> None:
    """Raise TlsError when the directory, or what is to be made for it, cannot be written to."""
    while not os.path.lexists(directory):
        directory = os.path.dirname(directory)
    if not os.path.isdir(directory) or not os.access(directory, os.W_OK | os.X_OK):
        raise TlsError(
            f"{directory}: expected a directory that user id {os.geteuid()} can write to, found another. Correct its "
            "owner and mode, or choose another directory; nothing was changed."
        )


def generation(directory: str, name: str) -> str | None:
    """Return the folder of the newest generation of an authority, or None when there is none. Raises OSError."""
    parent = os.path.join(directory, name)
    try:
        found = [entry for entry in os.listdir(parent) if _NUMBERED.fullmatch(entry)]
    except FileNotFoundError:
        return None
    return os.path.join(parent, max(found, key=int)) if found else None


def read(folder: str, name: str, passphrase: str | None) -> issuing.Authority:
    """Return the authority in a folder, with its issuing key, but without its root key.

    Raises TlsError when a file is missing or damaged, does not belong to the others or does not open.
    """
    root, issued = _certificate(folder, "root.crt"), _certificate(folder, "issuing.crt")
    issuing_path = os.path.join(folder, "issuing.crt")
    if not (root.is_ca and issued.is_ca and issuing.is_signed_by(issued, root)):
        raise TlsError(
            f"{issuing_path}: expected the certificate of a CA that root.crt beside it has signed, found another. "
            "The files of two authorities were mixed up: restore this folder from its backup."
        )
    if issued.extended_key_usage != (profiles.PURPOSES[name],):
        raise TlsError(
            f"{issuing_path}: expected the certificate of a {name} CA, found one with another purpose. "
            "The folders of two authorities were mixed up: restore them from their backup."
        )
    key = keys.from_pem(_present(folder, "issuing.key"), passphrase, os.path.join(folder, "issuing.key"))
    _refuse_foreign_key(key, issued, os.path.join(folder, "issuing.key"), issuing_path)
    return issuing.Authority(name, root, None, issued, key)


def create(directory: str, authority: issuing.Authority, passphrase: str | None) -> None:
    """Write a new authority; one rename makes it appear as a whole. The caller holds the lock. Raises OSError."""
    parent = os.path.join(directory, authority.name)
    staging = os.path.join(parent, _STAGING)
    files.make_directory(parent, 0o700)
    shutil.rmtree(staging, ignore_errors=True)  # left by a run that died
    files.make_directory(staging, 0o700)
    try:
        _write_all(staging, authority, passphrase)
        os.rename(staging, os.path.join(parent, _FIRST))
    except OSError:
        shutil.rmtree(staging, ignore_errors=True)
        raise
    files.sync_directory(parent)


def loose_keys(folder: str) -> list[str]:
    """Return the paths of the key files that others than their owner may read, as after a ``git clone``."""
    paths = [os.path.join(folder, name) for name in ("root.key", "issuing.key")]
    return [path for path in paths if os.path.exists(path) and os.stat(path).st_mode & 0o077]


def tighten(paths: list[str]) -> None:
    """Make files readable for their owner only. Raises OSError."""
    for path in paths:
        os.chmod(path, 0o600)


def _write_all(staging: str, authority: issuing.Authority, passphrase: str | None) -> None:
    contents = {
        "root.crt": (authority.root.pem.encode("ascii"), 0o644),
        "issuing.crt": (authority.issuing.pem.encode("ascii"), 0o644),
        "issuing.key": (keys.to_pem(authority.issuing_key, passphrase), 0o600),
    }
    if authority.root_key is not None:
        contents["root.key"] = (keys.to_pem(authority.root_key, passphrase), 0o600)
    for name, (content, mode) in contents.items():
        files.write_new(os.path.join(staging, name), content, mode)
    files.sync_directory(staging)


def _present(folder: str, name: str) -> bytes:
    content = files.read(os.path.join(folder, name))
    if content is None:
        raise TlsError(
            f"{os.path.join(folder, name)}: this file of the authority is missing. Restore it from its backup (only "
            "root.key may be kept elsewhere). Do not remove the folder as long as certificates of this authority are "
            "in use."
        )
    return content


def _certificate(folder: str, name: str) -> Certificate:
    path = os.path.join(folder, name)
    found = certificate.read_pem(_present(folder, name).decode("utf-8", "replace"), path)
    if len(found) != 1:
        raise TlsError(f"{path}: expected one certificate, found {len(found)}.")
    return found[0]


def _refuse_foreign_key(key: keys.AuthorityKey, owner: Certificate, key_path: str, certificate_path: str) -> None:
    if keys.public_der(key) != owner.public_key:
        raise TlsError(
            f"{key_path}: this key does not belong to {certificate_path}. Restore both from the same backup."
        )
