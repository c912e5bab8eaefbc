# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The kits that are declared: checked before anything is looked at or made. No message shows a password."""

from __future__ import annotations

import os
import re
from typing import Any, Iterator, Mapping, NamedTuple, Sequence

from ansible_collections.pgops.tls.plugins.module_utils.authority import ledger
from ansible_collections.pgops.tls.plugins.module_utils.client import service_file, values
from ansible_collections.pgops.tls.plugins.module_utils.client.identities import Endpoint, Identity
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError, shown
from ansible_collections.pgops.tls.plugins.module_utils.core.options import option
from ansible_collections.pgops.tls.plugins.module_utils.x509.names import refuse_port

PREFIX = ledger.KIT
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,62}")
# Longer than on a host: whoever gets hold of an archive can guess for as long as they like
SHORTEST_PASSWORD = 12


class Kit(NamedTuple):
    """What one person or application outside the inventory gets.

    ``authority`` is the client authority of its certificate. ``directory`` gets its archive. ``password`` protects its
    key, '' if it brings a ``csr`` (PEM) and there is no key in the kit. ``endpoints``: where it reaches its servers.
    """

    name: str
    role: str
    authority: str
    directory: str
    password: str
    csr: str
    databases: tuple[str, ...]
    endpoints: tuple[Endpoint, ...]

    @property
    def id(self) -> str:
        """Return the id of its certificate in the ledger."""
        return f"{PREFIX}{self.name}"

    @property
    def path(self) -> str:
        """Return the path of its archive."""
        return os.path.join(self.directory, f"{self.name}.zip")

    @property
    def has_key(self) -> bool:
        """Return whether its key is made here."""
        return not self.csr

    @property
    def services(self) -> dict[str, dict[str, str]]:
        """Return its services for libpq, as a client host of the inventory would have them."""
        identity = Identity(
            self.role, self.name, databases=self.databases, own_name=self.name, endpoints=self.endpoints
        )
        return service_file.services(identity)

    @property
    def database(self) -> str:
        """Return the database that examples name."""
        return next(iter(self.services.values())).get("dbname", self.role)


def parse_all(items: Sequence[Mapping[str, Any]]) -> list[Kit]:
    """Return the kits in their order. Raises TlsError for the first one that cannot be."""
    found: dict[str, Kit] = {}
    for number, item in enumerate(items):
        one = _parse(item, f"{option('kits')}[{number}]")
        if one.name in found:
            raise TlsError(
                f"{option('kits')}[{number}].name: {one.name} is the name of an earlier kit, too.",
                remedy="Give each kit a name of its own.",
                code="kit_twice",
            )
        found[one.name] = one
    return list(found.values())


def _parse(item: Mapping[str, Any], source: str) -> Kit:
    name = check_name(item.get("name"), f"{source}.name")
    place = f"{option('kits')}[{name}]"
    csr = str(item.get("csr") or "")
    return Kit(
        name,
        values.name(item.get("role"), f"{place}.role"),
        str(item.get("authority") or "client"),
        check_directory(item.get("directory"), f"{place}.directory"),
        check_password(item.get("password"), f"{place}.password", has_csr=bool(csr)),
        csr,
        values.databases(item.get("databases"), f"{place}.databases"),
        tuple(_endpoints(item.get("endpoints") or (), f"{place}.endpoints")),
    )


def check_name(name: object, source: str) -> str:
    """Return the name of a kit. Raises TlsError for one that is not fit for a file, a service and an id."""
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise TlsError(
            f"{source}: found {shown(name)}, expected up to 63 letters, digits, dots, hyphens, underscores, plus or at "
            "signs, of which the first is a letter or digit. It becomes the name of a file.",
            code="kit_name_invalid",
        )
    return name


def check_directory(directory: object, source: str) -> str:
    """Return the directory for an archive. Raises TlsError unless it is an absolute path."""
    if not isinstance(directory, str) or not os.path.isabs(directory) or not directory.isprintable():
        raise TlsError(
            f"{source}: found {shown(directory)}, expected the absolute path of a directory.",
            remedy="Begin it with /.",
            code="kit_directory_invalid",
        )
    return os.path.normpath(directory)


def check_password(password: object, source: str, *, has_csr: bool) -> str:
    """Return the password of a kit, '' for one with a request. Raises TlsError."""
    if has_csr and password not in (None, ""):
        raise TlsError(
            f"{source}: found a password beside csr. Such a kit has no key, so the password protects nothing.",
            remedy="Remove one of them.",
            code="kit_password_without_key",
        )
    if has_csr:
        return ""
    if password in (None, ""):
        raise TlsError(
            f"{source}: expected a password, found none. It protects the private key in the kit.",
            remedy="Set it from a vault, or have the person bring a request, in csr.",
            code="kit_password_missing",
        )
    return values.password(password, source, SHORTEST_PASSWORD, "kit_password_invalid")


def _endpoints(items: Sequence[Mapping[str, Any]], source: str) -> Iterator[Endpoint]:
    if not items:
        raise TlsError(
            f"{source}: expected the servers that the kit is for, found none.",
            remedy="Name at least one.",
            code="kit_without_server",
        )
    for number, one in enumerate(items):
        place = f"{source}[{number}]"
        for key in ("server", "host"):
            values.refuse_unprintable(str(one[key]), f"{place}.{key}")
        refuse_port(one["port"], f"{place}.port")
        yield Endpoint(str(one["server"]), str(one["host"]), one["port"])
