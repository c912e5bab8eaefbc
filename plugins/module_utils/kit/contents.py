# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The files of a kit that are no secret: trust, services for libpq, README, and the record of what it is."""

from __future__ import annotations

import json
from typing import Any, Mapping, NamedTuple

from ansible_collections.pgops.tls.plugins.module_utils.core import clock
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.kit import drivers
from ansible_collections.pgops.tls.plugins.module_utils.kit.declared import Kit
from ansible_collections.pgops.tls.plugins.module_utils.x509 import pkcs12
from ansible_collections.pgops.tls.plugins.module_utils.x509.certificate import Certificate, read_pem

RECORD, README, SERVICES = "kit.json", "README.txt", "pg_service.conf"
CERTIFICATE, KEY, PK8, KEYSTORE = "postgresql.crt", drivers.ENCRYPTED, "postgresql.pk8", "postgresql.p12"
ROOTS, LISTS, TRUSTSTORE = "root.crt", "root.crl", "truststore.p12"
MADE_BY = "pgops.tls"
_KINDS = {
    CERTIFICATE: "the certificate, and the CAs above it, in PEM",
    KEY: "the private key in PEM (encrypted PKCS#8)",
    PK8: "the same in DER",
    KEYSTORE: "key and certificate as PKCS#12, under the name user, for Java, .NET and Windows",
    ROOTS: "the root of the servers' certificates, in PEM",
    TRUSTSTORE: "the same as PKCS#12, for Java; it has no password",
    LISTS: "revoked certificates of servers, if there are any. It ends early, so nothing here names it",
    SERVICES: "services for programs with libpq",
    RECORD: "what this kit is, for the program that made it",
}
SECRET = (KEY, PK8, KEYSTORE)


class Trust(NamedTuple):
    """What a kit says of servers: the roots above their certificates, and lists of revoked ones ('': none), in PEM."""

    roots: str
    lists: str

    @property
    def files(self) -> dict[str, bytes]:
        """Return the files."""
        found = {ROOTS: self.roots.encode("ascii"), TRUSTSTORE: pkcs12.truststore(read_pem(self.roots, ROOTS))}
        return {**found, LISTS: self.lists.encode("ascii", "replace")} if self.lists else found


class Given(NamedTuple):
    """The certificate in a kit, when it was made, and from when on it is to be replaced (both in Unix seconds)."""

    leaf: Certificate
    issued: int
    renewal: int


def public(kit: Kit, given: Given, trust: Trust) -> dict[str, bytes]:
    """Return these files by their names, without the certificate."""
    texts = {README: _readme(kit, given), SERVICES: _services(kit), RECORD: _record(kit, given)}
    return {**trust.files, **{name: text.encode("utf-8") for name, text in texts.items()}}


def read_record(content: bytes) -> Mapping[str, Any]:
    """Return what a record says. Raises TlsError for anything that is none of ours."""
    try:
        found = json.loads(content)
        if found["made_by"] == MADE_BY:
            clock.seconds(found["issued"])
            return dict(found)
    except (ValueError, TypeError, KeyError):
        pass
    raise TlsError(f"{RECORD}: expected what a kit says of itself, found something else.", code="kit_record_unknown")


def _record(kit: Kit, given: Given) -> str:
    described = {
        "made_by": MADE_BY,
        "kit": kit.name,
        "role": kit.role,
        "authority": kit.authority,
        "serial": f"{given.leaf.serial:x}",
        "issued": clock.instant(given.issued),
        "not_after": clock.instant(given.leaf.not_after),
        "has_key": kit.has_key,
    }
    return json.dumps(described, indent=1) + "\n"


def _services(kit: Kit) -> str:
    """Return services that name files in the folder that programs are started in."""
    key = KEY if kit.has_key else drivers.OWN
    tls = ["sslmode=verify-full", f"sslrootcert={ROOTS}", f"sslcert={CERTIFICATE}", f"sslkey={key}"]
    lines = []
    for name, target in kit.services.items():
        lines += [f"[{name}]", f"user={kit.role}", *_pairs(target), *tls]
    return "\n".join([*lines, ""])


def _readme(kit: Kit, given: Given) -> str:
    described = {name: text for name, text in _KINDS.items() if kit.has_key or name not in SECRET}
    parts = [
        f"Access to PostgreSQL as role {kit.role}, for {kit.name}",
        _about(given),
        _ABOUT_KEY if kit.has_key else _ABOUT_OWN_KEY,
        _FIRST_STEPS.format(name=kit.name, mode=f"\n    chmod 600 {KEY}" if kit.has_key else ""),
        "Files\n\n" + "\n".join(f"  {name}: {text}" for name, text in described.items()),
        "Services\n\n" + "\n".join(_service_lines(kit)),
        _EXAMPLES.format(verb=f" They read the\npassword from {drivers.PASSWORD}." if kit.has_key else ""),
        *_examples(kit),
    ]
    return "\n\n".join(parts) + "\n"


def _about(given: Given) -> str:
    serial, end, renewal = f"{given.leaf.serial:x}", clock.instant(given.leaf.not_after), clock.instant(given.renewal)
    return (
        f"Made at {clock.instant(given.issued)}. The certificate has serial number\n{serial}.\n"
        f"It ends at {end}. From {renewal} on the next kit can be made.\n"
        "Once you use this kit, tell its serial number to whoever gave it to you. Before they\n"
        "know it, they cannot take away what earlier kits need."
    )


_ABOUT_KEY = """\
The private key in this kit was not made by you. Whoever made the kit had it, and did not keep it
outside of the kit. It is in three files, postgresql.key, postgresql.pk8 and postgresql.p12, and each
is encrypted with the password of the kit (AES-256, PBKDF2 with SHA-256, 200,000 rounds). All other
files are public. Who has this kit and its password can log in as you."""
_ABOUT_OWN_KEY = """\
There is no private key in this kit. It needs the one that you made the request with. Copy it to
own.key in this folder, in PEM, with mode 600. All files of the kit are public."""
_FIRST_STEPS = """\
Unpack and use it in its folder:

    unzip {name}.zip
    cd {name}{mode}

Programs that run elsewhere need the path of this folder before the names of files."""
_EXAMPLES = """\
Examples

They are for the first server and database, and run in the folder of the kit.{verb}"""


def _service_lines(kit: Kit) -> list[str]:
    return [f"  {name}: {' '.join(_pairs(target))}" for name, target in kit.services.items() if name != kit.name]


def _pairs(target: Mapping[str, str]) -> list[str]:
    return [f"{key}={value}" for key, value in target.items()]


def _examples(kit: Kit) -> list[str]:
    first = kit.endpoints[0]
    values: dict[str, str | int] = {
        "host": first.host,
        "port": first.port,
        "database": kit.database,
        "role": kit.role,
        "service": f"{kit.name}@{first.server}",
    }
    return [
        "\n".join([f"{one.name}:", "", *(f"    {line}" for line in one.lines(values, has_key=kit.has_key))])
        for one in drivers.DRIVERS
    ]
