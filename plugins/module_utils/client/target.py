# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The declared state of a host's clients: the module's arguments, checked and read before anything is touched."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Mapping, NamedTuple, Sequence

from ansible_collections.pgops.tls.plugins.module_utils.client import identities
from ansible_collections.pgops.tls.plugins.module_utils.client.identities import Identity
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError, shown
from ansible_collections.pgops.tls.plugins.module_utils.core.lazy_import import lazy_import
from ansible_collections.pgops.tls.plugins.module_utils.core.options import option
from ansible_collections.pgops.tls.plugins.module_utils.credential.spec import (
    Offer,
    Spec,
    anchors,
    authorities,
    refuse_without_root,
    serials,
)
from ansible_collections.pgops.tls.plugins.module_utils.x509.certificate import (
    CLIENT_AUTH,
    SERVER_AUTH,
    Certificate,
    read_option,
    refuse_private_key,
)

if TYPE_CHECKING:
    from ansible_collections.pgops.tls.plugins.module_utils.client import keystore
    from ansible_collections.pgops.tls.plugins.module_utils.core import durations
    from ansible_collections.pgops.tls.plugins.module_utils.verification import libpq
    from ansible_collections.pgops.tls.plugins.module_utils.x509 import revocations
else:
    durations = lazy_import("core.durations")
    keystore = lazy_import("client.keystore")
    libpq = lazy_import("verification.libpq")
    revocations = lazy_import("x509.revocations")


class Authority(NamedTuple):
    """An authority: what issues, first the one that issues now, what others trust, and revoked serial numbers.

    ``trusted`` has its roots among it. ``crls`` are its lists of revoked certificates for services that trust it, ''
    while nothing is revoked.
    """

    issuing: list[Certificate]
    trusted: list[Certificate]
    revoked: Sequence[str] = ()
    crls: str = ""

    @property
    def roots(self) -> list[Certificate]:
        """Return the roots that are trusted."""
        return [one for one in self.trusted if one.is_self_issued]


class Target(NamedTuple):
    """The declared state of all clients of one host. ``certificates`` are the received chains, by identity.

    ``crls`` are lists of revoked certificates of all roots, '' while nothing is revoked. ``authorities`` are the client
    authorities by name; '' is that of identities which name none. ``later`` are the identities whose certificate comes
    in a later run. ``server`` is the authority of servers' certificates, None if no identity needs one.
    ``known_servers``: names and addresses of all servers that are managed together, None if no other server is a reason
    to stop. ``libpq`` is the version of this host's, 0 if no identity needs to know. ``trust``: roots of identities for
    servers outside the inventory, by their ids. ``wished`` are the identities that an earlier run was asked to renew.
    """

    identities: list[Identity]
    key_type: str
    roots: list[Certificate]
    authorities: Mapping[str, Authority]
    certificates: Mapping[str, list[Certificate]]
    renew: bool
    new_keys: bool
    renew_before: int | None
    renew_to_new_root: bool = True
    crls: str = ""
    known_servers: Sequence[str] | None = None
    server: Authority | None = None
    later: frozenset[str] = frozenset()
    libpq: int = 0
    trust: Mapping[str, Sequence[Certificate]] = {}
    wished: frozenset[str] = frozenset()

    def is_asked(self, identity: Identity) -> bool:
        """Return whether to renew an identity's certificate even if it is not due."""
        return self.renew or self.new_keys or identity.id in self.wished

    def issuer(self, identity: Identity) -> Authority:
        """Return the authority of an identity's certificate."""
        if identity.names and self.server:
            return self.server
        return self.authorities[identity.authority]

    @property
    def is_answer(self) -> bool:
        """Return whether this answers requests: certificates came, or are said to come later."""
        return bool(self.certificates or self.later)

    @property
    def looks_outside(self) -> bool:
        """Return whether to look at servers outside the inventory. The call that asked for certificates has done it."""
        return bool(self.trust) and not self.is_answer

    def spec(self, identity: Identity, *, forced: bool) -> Spec:
        """Return what the certificate of an identity must be."""
        authority = self.issuer(identity)
        return Spec(
            common_name=None if identity.names else identity.role,
            names=identity.names,
            key_type=self.key_type,
            extended_key_usage=SERVER_AUTH if identity.names else CLIENT_AUTH,
            issuing=authority.issuing,
            renew_before=self.renew_before,
            forced=forced,
            revoked=authority.revoked,
        )

    def offer(self, identity: Identity) -> Offer:
        """Return the authority that would issue a certificate, and all that servers trust for logins.

        An identity may move from one of them to another. Servers' certificates have one authority.
        """
        if identity.names:
            return Offer(self.issuer(identity).issuing, self.roots)
        trusted = [one for each in self.authorities.values() for one in each.trusted]
        return Offer(self.authorities[identity.authority].issuing, trusted)


def read(options: Mapping[str, Any], now: int) -> Target:
    """Return the target that the module's options describe. ``now`` is in Unix seconds. Raises TlsError."""
    declared = _with_passwords(options, identities.parse(options["identities"]))
    trust = _trust(options, declared, now)
    declared = [one._replace(is_managed=one.id in trust) for one in declared] if trust else declared
    renew_before = options.get("renew_before")
    refuse_private_key(options.get("crls") or "", "crls")
    roots = _with_root(options["roots"], "roots", now)
    return Target(
        identities=declared,
        key_type=options["key_type"],
        roots=roots,
        authorities=_authorities(options, declared, now),
        certificates=_chains(options.get("certificates") or {}, declared),
        renew=bool(options.get("renew")),
        new_keys=bool(options.get("new_keys")),
        renew_before=durations.seconds(renew_before, "renew_before") if renew_before else None,
        renew_to_new_root=bool(options.get("renew_to_new_root", True)),
        crls=_lists(options.get("crls") or "", options["roots"]),
        known_servers=options.get("known_servers"),
        server=_server(options, declared, roots),
        trust=trust,
        later=frozenset(name for name, pem in (options.get("certificates") or {}).items() if not pem),
        libpq=libpq.load().major if any(one.strict_services for one in declared) else 0,
    )


def _with_passwords(options: Mapping[str, Any], declared: list[Identity]) -> list[Identity]:
    """Return the identities with the passwords of their keystores. Other states may be for some identities only."""
    passwords, is_present = options.get("pkcs12_passwords"), options.get("state", "present") == "present"
    if not passwords:
        return declared
    return keystore.with_declared(declared, passwords, option("pkcs12_passwords"), may_have_others=not is_present)


def _trust(options: Mapping[str, Any], declared: Sequence[Identity], now: int) -> dict[str, list[Certificate]]:
    """Return the roots for servers outside the inventory. Other states may be for some identities only."""
    is_present, found = options.get("state", "present") == "present", {}
    by_id = {one.id: one for one in declared}
    for name, pem in (options.get("trust") or {}).items():
        source = f"{option('trust')}: {shown(name)}"
        if name not in by_id and is_present:
            raise TlsError(
                f"{source} is not an identity (OS_USER/NAME) of this host.",
                remedy="Correct it, or remove it.",
                code="identity_unknown",
            )
        if name in by_id and by_id[name].has_certificate:
            raise TlsError(
                f"{source} has a certificate, which servers outside the inventory do not know.",
                remedy="Set its login to password, or make it two identities.",
                code="identity_managed_mixed",
            )
        found[name] = anchors(pem, source)
        refuse_without_root(found[name], source, now)
    return found


def _server(options: Mapping[str, Any], declared: Sequence[Identity], roots: list[Certificate]) -> Authority | None:
    """Return the authority of servers' certificates, None if no identity has names. Raises TlsError."""
    pem, serving = options.get("server_issuing") or "", next((one for one in declared if one.names), None)
    revoked = serials(options.get("server_revoked") or (), "server_revoked")
    if serving is None and not pem:
        return None
    if not pem:
        raise TlsError(
            f"server_issuing: expected the authorities that issue certificates for servers, found nothing, but "
            f"{serving.id if serving else ''} has names.",
            remedy="Give their certificates in PEM.",
            code="server_issuing_missing",
        )
    return Authority(authorities(pem, "server_issuing"), roots, revoked)


def _authorities(options: Mapping[str, Any], declared: Sequence[Identity], now: int) -> dict[str, Authority]:
    """Return the client authorities by name, '' for the usual one. Raises TlsError."""
    found = {"": _authority(options, "", now)}
    for number, one in enumerate(options.get("other_authorities") or ()):
        found[str(one["name"])] = _authority(one, f"other_authorities[{number}].", now)
    unknown = [one for one in declared if one.authority not in found]
    if unknown:
        raise TlsError(
            f"identities: {unknown[0].id} has the authority {shown(unknown[0].authority)}, which is not in "
            f"other_authorities. Expected one of: {', '.join(filter(None, found)) or 'none'}.",
            code="authority_unknown",
        )
    return found


def _authority(options: Mapping[str, Any], place: str, now: int) -> Authority:
    return Authority(
        authorities(options["issuing"], f"{place}issuing"),
        _with_root(options["trusted_clients"], f"{place}trusted_clients", now),
        serials(options.get("revoked") or (), f"{place}revoked"),
        _own_lists(options.get("trusted_clients_crls") or "", f"{place}trusted_clients_crls"),
    )


def _own_lists(pem: str, option: str) -> str:
    refuse_private_key(pem, option)
    if pem:
        revocations.read_pem(pem, option)
    return pem


def _lists(crls: str, roots: str) -> str:
    """Return the lists of revoked certificates, with those that came with other roots; '' while none are used."""
    return crls + (revocations.blocks(roots) if crls and "X509 CRL" in roots else "")


def _with_root(pem: str, option: str, now: int) -> list[Certificate]:
    """Return what is trusted by an option, one of which is a root that is valid now. Raises TlsError."""
    found = anchors(pem, option)
    refuse_without_root(found, option, now)
    return found


def _chains(certificates: Mapping[str, str], declared: list[Identity]) -> dict[str, list[Certificate]]:
    known = [identity.id for identity in declared if identity.has_certificate]
    unknown = [name for name in certificates if name not in known]
    if unknown:
        raise TlsError(
            f"certificates: {shown(unknown[0])} is not an identity (OS_USER/ROLE) of this host with a certificate; "
            f"expected one of: {', '.join(known) or 'none'}.",
            code="identity_unknown",
        )
    return {name: read_option(pem, f"certificates: {name}") for name, pem in certificates.items() if pem}
