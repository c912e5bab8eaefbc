# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A throw-away authority: certificates that differ from the right ones only in who signed them."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import tempfile
from typing import Iterator, NamedTuple, Sequence

from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.core.processes import Account, find, run

_EXTENSIONS = """
[req]
distinguished_name = none
[none]
[authority]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign
[client]
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = clientAuth
"""
_NEW_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")


class Foreign(NamedTuple):
    """A directory with an authority nobody trusts: its root, and a certificate and key per role."""

    directory: str
    roles: tuple[str, ...]

    @property
    def root(self) -> str:
        """Return the path of the authority's certificate."""
        return os.path.join(self.directory, "authority.crt")

    @property
    def root_key(self) -> str:
        """Return the path of the authority's private key."""
        return os.path.join(self.directory, "authority.key")

    def certificate(self, role: str) -> str:
        """Return the path of the certificate for a role."""
        return os.path.join(self.directory, f"{self.roles.index(role)}.crt")

    def key(self, role: str) -> str:
        """Return the path of the private key for a role."""
        return os.path.join(self.directory, f"{self.roles.index(role)}.key")


@contextlib.contextmanager
def foreign_authority(reader: Account, roles: Sequence[str]) -> Iterator[Foreign]:
    """Make an authority and a client certificate for each role; remove all of it afterwards, whatever happens.

    Only ``reader`` can read the files. They are given to it when they are complete, so nobody can interfere while
    root writes them. Raises TlsError when openssl fails.
    """
    directory = tempfile.mkdtemp(prefix="pgops-tls-foreign-")
    try:
        foreign = Foreign(directory, tuple(roles))
        _make_authority(foreign)
        for role in roles:
            _make_certificate(foreign, role)
        _give(directory, reader)
        yield foreign
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _make_authority(foreign: Foreign) -> None:
    _openssl(
        "req", "-x509", "-config", "/dev/stdin", "-extensions", "authority", *_NEW_KEY, "-days", "1",
        "-subj", "/CN=pgops.tls foreign authority", "-keyout", foreign.root_key, "-out", foreign.root,
    )  # fmt: skip


def _make_certificate(foreign: Foreign, role: str) -> None:
    request = os.path.join(foreign.directory, "request")
    subject = "/CN=" + "".join(f"\\{letter}" if letter in "\\/+=" else letter for letter in role)
    _openssl(
        "req", "-new", "-config", "/dev/stdin", *_NEW_KEY, "-utf8", "-subj", subject,
        "-keyout", foreign.key(role), "-out", request,
    )  # fmt: skip
    _openssl(
        "x509", "-req", "-in", request, "-CA", foreign.root, "-CAkey", foreign.root_key, "-days", "1",
        "-set_serial", str(secrets.randbits(64)), "-extfile", "/dev/stdin", "-extensions", "client",
        "-out", foreign.certificate(role),
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
        raise TlsError(f"openssl {arguments[0]} could not make a throw-away certificate: {lines[-1]}")
