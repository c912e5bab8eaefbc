# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What renews the certificate of a server and knows nothing of this collection: an agent of the company's CA."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible_collections.pgops.tls.tests import companies
from ansible_collections.pgops.tls.tests.companies import Authority, Company
from ansible_collections.pgops.tls.tests.servers import TODAY
from ansible_collections.pgops.tls.tests.shared import DAY
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

NAMES = ("localhost", "127.0.0.1", "shop.example")


@dataclass
class Keeper:
    """What renews the files of a server: a company's agent, which knows nothing of this collection."""

    company: Company
    directory: Path

    @property
    def certificate(self) -> Path:
        return self.directory / "tls.crt"

    @property
    def key(self) -> Path:
        return self.directory / "tls.key"

    def renew(self, turn: int = 0, **changes: Any) -> str:
        """Put a new certificate and key there, and return the fingerprint of its leaf."""
        key = rsa.generate_private_key(65537, 2048)
        return self.put(key, self.issued(key, turn, **changes))

    def issued(
        self,
        key: Any,
        turn: int = 0,
        *,
        issuer: Authority | None = None,
        names: tuple[str, ...] = NAMES,
        **life: Any,
    ) -> list[Any]:
        """Return a chain, leaf first, without the root."""
        start = {"start": TODAY - 10 * DAY, **life}
        leaf = companies.leaf(issuer or self.company.issuing[turn], key.public_key(), "shop.example", names, **start)
        above = [] if issuer else [self.company.issuing[turn].certificate, self.company.policy.certificate]
        return [leaf, *above]

    def put(self, key: Any, chain: list[Any], passphrase: str = "") -> str:
        """Write files as an agent does: new ones under the old names."""
        protection: Any = serialization.NoEncryption()
        if passphrase:
            protection = serialization.BestAvailableEncryption(passphrase.encode())
        form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, protection)
        self._replace(self.key, key.private_bytes(*form))
        self._replace(self.certificate, b"".join(one.public_bytes(serialization.Encoding.PEM) for one in chain))
        return companies.as_read(chain[0]).sha256

    def _replace(self, path: Path, content: bytes) -> None:
        new = path.with_name(f"{path.name}.new")
        new.write_bytes(content)
        new.chmod(0o600)
        new.replace(path)
