# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The directory of the authorities: plain files, each generation of a CA made whole by one rename.

::

    DIRECTORY/server/0001/{root.crt,root.key,issuing.crt,issuing.key}    the server CA
    DIRECTORY/client/0001/{...}                                          a client CA; each has a folder of its name
    DIRECTORY/ledger.jsonl                                               what they issued
    DIRECTORY/revoked.jsonl                                              what of it is revoked, from the first time on

Where a generation is says what it is for: all numbered ones are trusted, and the one with the highest number issues;
``staged`` is trusted and issues nothing yet; those in ``retiring`` are no longer trusted as soon as no numbered one has
their root; those in ``retired`` are done, and have no private keys any more.

Below a company's root a generation begins as ``requested``, with its key and the request that the company is to sign.
What the company signed is added, and the folder is renamed. The request stays in it, and says whose the root is.
"""

from __future__ import annotations

import contextlib
import os
import re
from typing import Mapping, NamedTuple, Sequence

from ansible_collections.pgops.tls.plugins.module_utils.authority import issuing, keys, profiles
from ansible_collections.pgops.tls.plugins.module_utils.core import files
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.x509 import certificate
from ansible_collections.pgops.tls.plugins.module_utils.x509.certificate import Certificate

_NUMBERED = re.compile(r"[0-9]{4,}")
_STAGING = ".staging"
STAGED, RETIRING, RETIRED, REQUESTED = "staged", "retiring", "retired", "requested"
CROSS = "cross.crt"
REQUEST, ABOVE, SHARED, SINCE = "issuing.csr", "above.crt", "shared", "since"
KEYS = ("root.key", "issuing.key")


class Folders(NamedTuple):
    """The paths of an authority's generations by what they are for; oldest first."""

    numbered: tuple[str, ...]
    staged: str | None
    retiring: tuple[str, ...]


def folders(directory: str, name: str) -> Folders:
    """Return where the generations of an authority are, without those that are retired. Raises OSError."""
    parent = os.path.join(directory, name)
    staged = os.path.join(parent, STAGED)
    return Folders(
        _numbered(parent), staged if os.path.isdir(staged) else None, _numbered(os.path.join(parent, RETIRING))
    )


def names(directory: str) -> list[str]:
    """Return the authorities in a directory, sorted by their names. Raises OSError."""
    try:
        found = sorted(os.listdir(directory))
    except FileNotFoundError:
        return []
    return [name for name in found if profiles.is_authority_name(name) and _has_generations(directory, name)]


def _has_generations(directory: str, name: str) -> bool:
    found = folders(directory, name)
    places = (*found.numbered, *found.retiring, *([found.staged] if found.staged else []))
    return any(os.path.exists(os.path.join(place, "issuing.crt")) for place in places)


def _numbered(parent: str) -> tuple[str, ...]:
    try:
        found = [entry for entry in os.listdir(parent) if _NUMBERED.fullmatch(entry)]
    except FileNotFoundError:
        return ()
    return tuple(os.path.join(parent, entry) for entry in sorted(found, key=int))


def retired_roots(directory: str, name: str) -> list[bytes]:
    """Return what is in the files of retired roots, on which no host depends any more. Raises OSError."""
    found = [files.read(os.path.join(one, "root.crt")) for one in _numbered(path(directory, name, RETIRED))]
    return [one for one in found if one is not None]


def path(directory: str, name: str, place: str) -> str:
    """Return where a generation of an authority is, or is going to be; ``place`` is ``staged`` or a number."""
    return os.path.join(directory, name, place)


def next_number(directory: str, name: str) -> str:
    """Return the number that the next generation of an authority gets: none that was ever used. Raises OSError."""
    parent = os.path.join(directory, name)
    used = [path for place in ("", RETIRING, RETIRED) for path in _numbered(os.path.join(parent, place))]
    return f"{max((int(os.path.basename(path)) for path in used), default=0) + 1:04d}"


def read_public(folder: str, name: str) -> issuing.Generation:
    """Return the certificates of the generation in a folder; no key is opened.

    Raises TlsError when a file is missing or damaged, or does not belong to the others.
    """
    root, issued = _certificate(folder, "root.crt"), _certificate(folder, "issuing.crt")
    issuing_path = os.path.join(folder, "issuing.crt")
    company = _company(folder)
    links = [issued, *(company.above if company else ()), root]
    if not (all(one.is_ca for one in links) and all(map(issuing.is_signed_by, links, links[1:]))):
        raise TlsError(
            f"{issuing_path}: expected the certificate of a CA that root.crt beside it has signed, found another.",
            remedy="The files of two authorities were mixed up: restore this folder from its backup.",
            code="authority_files_mixed",
        )
    usages, purpose = issued.extended_key_usage, profiles.purpose(name)
    if usages != (purpose,) and not (company and (not usages or purpose in usages)):
        raise TlsError(
            f"{issuing_path}: expected the certificate of a {name} CA, found one with another purpose.",
            remedy="The folders of two authorities were mixed up: restore them from their backup.",
            code="authority_files_mixed",
        )
    cross = _certificate(folder, CROSS) if os.path.exists(os.path.join(folder, CROSS)) else None
    return issuing.Generation(folder, root, issued, cross, company=company)


def _company(folder: str) -> issuing.CompanyRoot | None:
    """Return what a folder holds of a company; None for an own root. Raises TlsError, OSError."""
    if not os.path.exists(os.path.join(folder, REQUEST)):
        return None
    path = os.path.join(folder, ABOVE)
    text = (files.read(path) or b"").decode("utf-8", "replace")
    above = certificate.read_pem(text, path) if text else ()
    since = files.read(os.path.join(folder, SINCE)) or b"0"
    return issuing.CompanyRoot(tuple(above), os.path.exists(os.path.join(folder, SHARED)), int(since))


def issuing_key(found: issuing.Generation, passphrase: str | None) -> keys.AuthorityKey:
    """Return the private key of a generation's issuing CA. Raises TlsError when it is missing or does not open."""
    path = os.path.join(found.folder, "issuing.key")
    key = keys.from_pem(present(found.folder, "issuing.key"), passphrase, path)
    _refuse_foreign_key(key, found.issuing, path, os.path.join(found.folder, "issuing.crt"))
    return key


def root_key(found: issuing.Generation, passphrase: str | None) -> keys.AuthorityKey | None:
    """Return the private key of a generation's root, None when it is kept elsewhere.

    Raises TlsError when it does not open or belongs to another root.
    """
    path = root_key_path(found)
    text = files.read(path)
    if text is None:
        return None
    key = keys.from_pem(text, passphrase, path)
    _refuse_foreign_key(key, found.root, path, os.path.join(found.folder, "root.crt"))
    return key


def root_key_path(found: issuing.Generation) -> str:
    """Return where the private key of a generation's root is, or must be put."""
    return os.path.join(found.folder, "root.key")


def create(directory: str, authority: issuing.Authority, passphrase: str | None, place: str = "") -> str:
    """Write a new generation of an authority; one rename makes it appear as a whole. Return its folder.

    ``place`` is ``staged``, or '' for the next number. The caller holds the lock. Raises OSError.
    """
    parent = os.path.join(directory, authority.name)
    folder = os.path.join(parent, place or next_number(directory, authority.name))
    write_folder(parent, folder, _contents(authority, passphrase))
    return folder


def write_folder(parent: str, folder: str, contents: Mapping[str, tuple[bytes, int]]) -> None:
    """Write a folder with files and their modes; one rename makes it appear as a whole. Raises OSError."""
    staging = os.path.join(parent, _STAGING)
    files.make_directory(parent, 0o700)
    files.remove_tree(staging)  # left by a run that died
    files.make_directory(staging, 0o700)
    try:
        for name, (content, mode) in contents.items():
            files.write_new(os.path.join(staging, name), content, mode)
        files.sync_directory(staging)
        os.rename(staging, folder)
    except OSError:
        files.remove_tree(staging)
        raise
    files.sync_directory(parent)


def move(before: str, after: str) -> None:
    """Move a generation by one rename, unless it is already there. The caller holds the lock. Raises OSError."""
    if before != after:
        files.make_directory(os.path.dirname(after), 0o700)
        os.rename(before, after)
        files.sync_directory(os.path.dirname(after))
        files.sync_directory(os.path.dirname(before))


def replace(before: str, after: str, retired: str) -> None:
    """Move a generation to a place where another one is, which goes to ``retired`` without its keys. Raises OSError.

    A run that dies in between leaves that place empty.
    """
    move(after, retired)
    remove_keys(retired, KEYS)
    move(before, after)


def move_root_key(before: str, after: str) -> None:
    """Move the key of a root from one of its folders to another one, if it exists. Raises OSError."""
    source = os.path.join(before, "root.key")
    if os.path.exists(source):
        os.rename(source, os.path.join(after, "root.key"))
        files.sync_directory(after)
        files.sync_directory(before)


def remove_cross(folder: str) -> None:
    """Remove a root as signed by the previous one. Do nothing if it is already removed. Raises OSError."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(os.path.join(folder, CROSS))
    files.sync_directory(folder)


def remove_keys(folder: str, names: Sequence[str]) -> None:
    """Remove private keys of a generation. Raises OSError."""
    for name in names:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(os.path.join(folder, name))
    files.sync_directory(folder)


def loose_keys(directory: str, name: str) -> list[str]:
    """Return the key files of an authority that others than their owner may read, as after a ``git clone``."""
    found = folders(directory, name)
    places = (*found.numbered, *found.retiring, *([found.staged] if found.staged else []))
    places += (path(directory, name, REQUESTED),)
    paths = [os.path.join(place, key) for place in places for key in KEYS]
    return [one for one in paths if os.path.exists(one) and os.stat(one).st_mode & 0o077]


def tighten(paths: list[str]) -> None:
    """Make files readable for their owner only. Raises OSError."""
    for path in paths:
        os.chmod(path, 0o600)


def _contents(authority: issuing.Authority, passphrase: str | None) -> dict[str, tuple[bytes, int]]:
    contents = {
        "root.crt": (authority.root.pem.encode("ascii"), 0o644),
        "issuing.crt": (authority.issuing.pem.encode("ascii"), 0o644),
        "issuing.key": (keys.to_pem(authority.issuing_key, passphrase), 0o600),
    }
    if authority.cross is not None:
        contents[CROSS] = (authority.cross.pem.encode("ascii"), 0o644)
    for name, crl in zip(("root.crl", "issuing.crl"), authority.crls):
        contents[name] = (crl.encode("ascii"), 0o644)
    if authority.root_key is not None:
        contents["root.key"] = (keys.to_pem(authority.root_key, passphrase), 0o600)
    return contents


def present(folder: str, name: str) -> bytes:
    """Return the bytes of a file of an authority. Raises TlsError when it is missing, OSError."""
    content = files.read(os.path.join(folder, name))
    if content is None:
        raise TlsError(
            f"{os.path.join(folder, name)}: this file of the authority is missing.",
            remedy=(
                "Restore it from its backup (only root.key may be kept elsewhere). Do not remove the folder as long as "
                "certificates of this authority are in use."
            ),
            code="authority_file_missing",
        )
    return content


def _certificate(folder: str, name: str) -> Certificate:
    path = os.path.join(folder, name)
    found = certificate.read_pem(present(folder, name).decode("utf-8", "replace"), path)
    if len(found) != 1:
        raise TlsError(f"{path}: expected one certificate, found {len(found)}.", code="certificate_not_single")
    return found[0]


def _refuse_foreign_key(key: keys.AuthorityKey, owner: Certificate, key_path: str, certificate_path: str) -> None:
    if keys.public_der(key) != owner.public_key:
        raise TlsError(
            f"{key_path}: this key does not belong to {certificate_path}.",
            remedy="Restore both from the same backup.",
            code="key_mismatch",
        )
