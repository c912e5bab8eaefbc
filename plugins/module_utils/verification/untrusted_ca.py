# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A throw-away authority that nobody trusts, to try what must be refused."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from typing import Iterator, NamedTuple

from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.core.processes import Account, find, run

# An authority that is its own only client: it passes for both, and costs one process of openssl instead of three
_EXTENSIONS = """
[req]
distinguished_name = none
[none]
[authority]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign, digitalSignature
extendedKeyUsage = clientAuth, serverAuth
subjectKeyIdentifier = hash
"""


class Foreign(NamedTuple):
    """A directory with an authority's certificate, whose common name is a role, and its private key."""

    directory: str

    @property
    def certificate(self) -> str:
        """Return the path of the certificate."""
        return os.path.join(self.directory, "authority.crt")

    @property
    def key(self) -> str:
        """Return the path of the private key."""
        return os.path.join(self.directory, "authority.key")


@contextlib.contextmanager
def foreign_authority(reader: Account, role: str) -> Iterator[Foreign]:
    """Make an authority whose certificate is a client certificate for ``role`` too; remove it afterwards.

    Only ``reader`` can read the files. They are given to it when they are complete, so nobody can interfere while
    root writes them. Raises TlsError when openssl fails.
    """
    directory = tempfile.mkdtemp(prefix="pgops-tls-foreign-")
    try:
        foreign = Foreign(directory)
        _make(foreign, role)
        _give(directory, reader)
        yield foreign
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _make(foreign: Foreign, role: str) -> None:
    subject = "/CN=" + "".join(f"\\{letter}" if letter in "\\/+=" else letter for letter in role)
    _openssl(
        "req", "-x509", "-config", "/dev/stdin", "-extensions", "authority", "-days", "1", "-utf8", "-subj", subject,
        "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
        "-keyout", foreign.key, "-out", foreign.certificate,
    )  # fmt: skip


def _give(directory: str, reader: Account) -> None:
    for name in os.listdir(directory):
        path = os.path.join(directory, name)
        os.chmod(path, 0o600)
        os.chown(path, *reader.owner)
    os.chown(directory, *reader.owner)


def _openssl(*arguments: str) -> None:
    done = run([find("openssl", "to make certificates that must be refused"), *arguments], stdin=_EXTENSIONS)
    if done.status != 0:
        lines = [line for line in done.errors.splitlines() if line.strip()] or ["no message"]
        raise TlsError(
            f"openssl {arguments[0]} could not make a throw-away certificate: {lines[-1]}", code="openssl_failed"
        )
