# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The requests that wait in a directory for people: a file with each, and a list of all that people can read."""

from __future__ import annotations

import contextlib
import os
from typing import Collection, NamedTuple, Sequence

from ansible_collections.pgops.tls.plugins.module_utils.core import files
from ansible_collections.pgops.tls.plugins.module_utils.source import programs
from ansible_collections.pgops.tls.plugins.module_utils.x509.certificate import CLIENT_AUTH, SERVER_AUTH, requested_key
from ansible_collections.pgops.tls.plugins.module_utils.x509.openssl import Wanted

with contextlib.suppress(ImportError):  # without it, modules end before they call anything here: see library.py
    from cryptography import x509

LIST = "requests.txt"
USAGES = {SERVER_AUTH: "serverAuth", CLIENT_AUTH: "clientAuth"}
_HEAD = (
    "# Certificate requests that wait to be signed. Sign each .csr as it is, and put the certificate beside it, under\n"
    "# any name that ends with .pem, .crt, .cer, .der, .p7b or .p7c. Then run the playbook again.\n"
)


class Open(NamedTuple):
    """A request (PEM) that waits, and what the list says of it: ``what`` is wanted until the instant ``end``.

    Without an ``end`` it is wanted now.
    """

    name: str
    csr: str
    what: str
    end: str
    reasons: Sequence[str]

    @property
    def line(self) -> str:
        """Return its line in the list."""
        key = requested_key(self.csr).key_type
        by_when = f"by {self.end}" if self.end else "now"
        why = "; ".join(map(programs.quoted, self.reasons))  # a host says them, and must not write lines of others
        return f"{self.name}.csr: {self.what}; {key}; {by_when} ({why})\n"


def in_words(kind: str, wanted: Wanted) -> str:
    """Return what is wanted of a leaf, for the list."""
    names = ", ".join(one.value for one in wanted.names) or f"role {wanted.common_name}"
    return f"{kind} {names}; {USAGES[wanted.usage]}"


def write(directory: str, waiting: Sequence[Open], done: Collection[str]) -> list[str]:
    """Write requests and the list; remove those that are ``done``. Return what has changed, in words. Raises OSError.

    Lines of other requests stay: each task of a run knows only its own.
    """
    changes = [f"write {_path(directory, one.name)}" for one in waiting if _write(directory, one)]
    for name in done:
        if os.path.lexists(_path(directory, name)):
            os.unlink(_path(directory, name))
            changes.append(f"remove {_path(directory, name)}, which is signed")
    path = os.path.join(directory, LIST)
    before = (files.read(path) or b"").decode("utf-8", "replace")
    own = {f"{one.name}.csr": one.line for one in waiting}
    gone = {f"{name}.csr" for name in done}
    others = {}
    for line in before.splitlines(keepends=True):
        name = line.partition(": ")[0]
        if not line.startswith("#") and name not in gone and os.path.exists(os.path.join(directory, name)):
            others[name] = line
    lines = {**others, **own}
    after = _HEAD + "".join(lines[name] for name in sorted(lines)) if lines else ""
    if after != before:
        files.write_atomically(path, after.encode(), 0o644)
    return changes


def _write(directory: str, one: Open) -> bool:
    """Write a request unless one for the same key is there; a signature differs each time. Return whether it did."""
    path = _path(directory, one.name)
    before = (files.read(path) or b"").decode("ascii", "replace")
    if before and _signed_part(before) == _signed_part(one.csr):
        return False
    files.write_atomically(path, one.csr.encode("ascii"), 0o644)
    return True


def _signed_part(csr: str) -> bytes:
    """Return what a request says, without its signature; nothing of a damaged one."""
    try:
        return bytes(x509.load_pem_x509_csr(csr.encode("ascii", "replace")).tbs_certrequest_bytes)
    except ValueError:
        return b""


def _path(directory: str, name: str) -> str:
    return os.path.join(directory, f"{name}.csr")
