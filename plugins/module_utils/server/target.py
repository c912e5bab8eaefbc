# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A server's declared state: the module's arguments, checked and read before anything is touched."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Callable, Mapping, NamedTuple, Sequence

from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError, shown
from ansible_collections.pgops.tls.plugins.module_utils.core.lazy_import import lazy_import
from ansible_collections.pgops.tls.plugins.module_utils.core.options import option
from ansible_collections.pgops.tls.plugins.module_utils.credential.spec import (
    Offer,
    Spec,
    anchors,
    authorities,
    plain_pem,
    roots_among,
    serials,
)
from ansible_collections.pgops.tls.plugins.module_utils.postgres import fitting, settings
from ansible_collections.pgops.tls.plugins.module_utils.server.found import Existing
from ansible_collections.pgops.tls.plugins.module_utils.x509 import certificate
from ansible_collections.pgops.tls.plugins.module_utils.x509.certificate import Certificate
from ansible_collections.pgops.tls.plugins.module_utils.x509.names import Name, parse_all, refuse_port

if TYPE_CHECKING:
    from ansible_collections.pgops.tls.plugins.module_utils.core import durations
    from ansible_collections.pgops.tls.plugins.module_utils.x509 import revocations
else:
    durations = lazy_import("core.durations")
    revocations = lazy_import("x509.revocations")


_ROOTS = "roots"


class Former(NamedTuple):
    """A client authority that the server may still trust, since its clients have not moved away from it yet."""

    name: str
    trusted: list[Certificate]
    crls: str


class Target(NamedTuple):
    """The declared state of one server. Texts are as the role rendered them, ``settings`` is ssl_conf read.

    ``trusted_clients`` are all authorities for logins, ``extra_trusted`` those that are not this collection's. ``crls``
    are their lists of revoked certificates, '' while nothing is revoked; ``revoked`` are serial numbers of servers'
    certificates. ``host`` is its name in the inventory, ``former_host`` the one before. Of the ``former`` client
    authorities those stay trusted that the server trusts now, ``still_trusted``. ``existing`` are files from which the
    certificate comes, None if it is to be requested. ``is_trust_shared``: the authorities for logins sign for others,
    too. ``groups_left_out`` are those of ssl_groups that this server does not get, and why.
    """

    directory: str
    names: list[Name]
    key_type: str
    roots: str
    trusted_clients: str
    extra_trusted: list[Certificate]
    crls: str
    revoked: list[str]
    issuing: list[Certificate]
    certificate: str | None
    ssl_conf: str
    settings: dict[str, str]
    hba: str
    hba_mode: str
    upgrade_clientcert: bool
    ident: str
    plaintext: str
    on_lockout: str
    clients: list[dict[str, Any]]
    databases: Sequence[str]
    renew: bool
    renew_before: int | None
    remove_directory: bool
    host: str
    former_host: str
    former: Sequence[Former] = ()
    existing: Existing | None = None
    is_trust_shared: bool = False
    still_trusted: tuple[str, ...] = ()
    groups_left_out: str = ""

    @property
    def comes_later(self) -> bool:
        """Return whether the next certificate comes in a later run."""
        return self.certificate == ""

    @property
    def spec(self) -> Spec:
        """Return what the server's certificate must be."""
        return Spec(
            common_name=None,
            names=self.names,
            key_type=self.key_type,
            extended_key_usage=certificate.SERVER_AUTH,
            issuing=self.issuing,
            renew_before=self.renew_before,
            forced=self.renew,
            revoked=self.revoked,
        )

    def for_server(self, major: int, objection: Callable[[], str]) -> Target:
        """Return the same for a server of version ``major``: settings as it can take them. Raises TlsError.

        ``objection`` says why it cannot be given groups that it may not know, and is asked only if there are some.
        """
        optional = fitting.optional_groups(self.settings, major)
        why = objection() if optional else ""
        text = fitting.fitted(self.ssl_conf, major, why)
        told = f"{', '.join(optional)}: {why}" if why else ""
        return self._replace(ssl_conf=text, settings=settings.parse(text), groups_left_out=told)

    def with_former(self, deployed: bytes | None) -> Target:
        """Return the same, with trust in those former authorities that are in the ``deployed`` file of trusted ones."""
        known = {one.der for one in certificate.read_chain(deployed, "trusted authorities")}
        known -= {one.der for one in self.extra_trusted}
        kept = [one for one in self.former if known.intersection(each.der for each in one.trusted)]
        lists = "".join(one.crls for one in kept) if self.crls else ""
        return self._replace(
            trusted_clients=self.trusted_clients + "".join(plain_pem(one.trusted) for one in kept),
            crls=self.crls + lists,
            still_trusted=tuple(one.name for one in kept),
        )

    @property
    def offer(self) -> Offer:
        """Return what issues servers' certificates, and the roots that clients trust for them."""
        return Offer(self.issuing, anchors(self.roots, "roots"))


def read(options: dict[str, Any]) -> Target:
    """Return the target that the module's options describe. Raises TlsError for invalid ones."""
    refuse_port(options["port"], "port")
    given, trusted = options.get("existing") or {}, anchors(options["trusted_clients"], "trusted_clients")
    roots = _roots(options, given)
    for name in ("crls", "certificate"):
        certificate.refuse_private_key(options[name] or "", name)
    extra = options["extra_trusted_clients"]
    extra_trusted = anchors(extra, "extra_trusted_clients") if extra.strip() else []
    return Target(
        directory=_directory(options),
        names=parse_all(options["names"], "names"),
        key_type=options["key_type"],
        roots=plain_pem(roots),
        trusted_clients=plain_pem([*trusted, *extra_trusted]),
        extra_trusted=extra_trusted,
        crls=options["crls"] + (revocations.blocks(extra) if options["crls"] and "X509 CRL" in extra else ""),
        revoked=serials(options["revoked"], "revoked"),
        issuing=_issuing(options["issuing"], roots, given),
        certificate=options["certificate"],
        ssl_conf=options["ssl_conf"],
        settings=settings.parse(options["ssl_conf"]),
        hba=options["hba"],
        hba_mode=options["hba_mode"],
        upgrade_clientcert=options["upgrade_clientcert"],
        ident=options["ident"],
        plaintext=options["plaintext"],
        on_lockout=options["on_lockout"],
        clients=options["clients"],
        databases=options["databases"],
        renew=options["renew"],
        renew_before=_seconds(options["renew_before"]),
        remove_directory=options["remove_directory"],
        host=options["host"],
        former_host=options["former_host"],
        former=[_former(one, number) for number, one in enumerate(options.get("former_authorities") or ())],
        existing=existing_files(given, option("existing")),
        is_trust_shared=bool(options.get("trusted_clients_shared")),
    )


def _issuing(pem: str, roots: Sequence[Certificate], given: Mapping[str, Any]) -> list[Certificate]:
    """Return the CAs that may have issued the certificate: of what others have put there, any CA below the roots."""
    return roots_among(roots) if any(given.values()) else authorities(pem, "issuing")


def _seconds(renew_before: str | None) -> int | None:
    return durations.seconds(renew_before, "renew_before") if renew_before else None


def existing_files(given: Mapping[str, Any], called: str) -> Existing | None:
    """Return the declared files of others, None if nothing is ``given``. Raises TlsError, naming the option."""
    unknown = next((key for key in given if key not in (*Existing._fields, _ROOTS)), None)
    if unknown is not None:
        raise TlsError(
            f"{called}: found key {shown(unknown)}, expected {', '.join(Existing._fields)} and perhaps {_ROOTS}.",
            remedy="Correct the key, or remove it.",
            code="existing_key_unknown",
        )
    if not any(given.values()):
        return None
    found = {name: given.get(name) for name in Existing._fields}
    for name, path in found.items():
        if not isinstance(path, str) or not os.path.isabs(path) or not path.isprintable():
            raise TlsError(
                f"{called}.{name}: found {shown(path) if path else 'nothing'}, expected the absolute path of a file on "
                "the server's host.",
                remedy="Name both, certificate and key.",
                code="existing_path_invalid",
            )
    return Existing(**{name: str(path) for name, path in found.items()})


def _roots(options: dict[str, Any], given: Mapping[str, Any]) -> list[Certificate]:
    more = given.get(_ROOTS) or ""
    return [*anchors(options["roots"], "roots"), *(anchors(more, f"{option('existing')}.{_ROOTS}") if more else [])]


def _former(item: dict[str, Any], number: int) -> Former:
    place = f"former_authorities[{number}]"
    certificate.refuse_private_key(item["crls"], f"{place}.crls")
    return Former(item["name"], authorities(item["trusted_clients"], f"{place}.trusted_clients"), item["crls"])


def _directory(options: dict[str, Any]) -> str:
    found = str(options["directory"] or f"/etc/postgresql/tls/{options['port']}")
    if not found.strip("/") or found[0] != "/" or not found.isprintable() or {*found} & {*"'\\"}:
        raise TlsError(
            f"directory: {shown(found)}, expected an absolute path without quotes, backslashes or line breaks.",
            code="directory_invalid",
        )
    return found.rstrip("/")
