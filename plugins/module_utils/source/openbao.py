# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Certificates from the PKI secrets engine of OpenBao or HashiCorp Vault.

Every run reads roots, issuing CAs and lists from the mount, without a token. Names and lifetime are said with each
request, and whatever comes back is compared with them: a role may cut, add and leave out.
"""

from __future__ import annotations

import contextlib
from typing import Any, Iterable, Mapping, Sequence

from ansible_collections.pgops.tls.plugins.module_utils.authority import profiles
from ansible_collections.pgops.tls.plugins.module_utils.authority.requests import Request
from ansible_collections.pgops.tls.plugins.module_utils.core import durations
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.credential.spec import authorities
from ansible_collections.pgops.tls.plugins.module_utils.source import answers, bao_api, checking, lists, root_file
from ansible_collections.pgops.tls.plugins.module_utils.source.contract import Signed, Source, Trust
from ansible_collections.pgops.tls.plugins.module_utils.source.declared import OPENBAO, Declared
from ansible_collections.pgops.tls.plugins.module_utils.x509.certificate import Certificate, read_pem
from ansible_collections.pgops.tls.plugins.module_utils.x509.names import Name

_CLOCKS = 600  # seconds by which a life may be shorter than asked for, because clocks differ
_NOT_ALLOWED = (
    "Allow it in this role: allowed_domains with allow_bare_domains or allow_subdomains, allow_ip_sans, and for names "
    "of roles allow_any_name=true with enforce_hostnames=false."
)


class OpenBao(Source):
    """One mount and one role of it."""

    def __init__(self, declared: Declared, *, are_lists_used: bool) -> None:
        super().__init__(declared)
        self._are_lists_used = are_lists_used
        self._mount = str(self.options.get("mount") or "pki").strip("/")
        self._role = str(self.options["role"])
        self._api = bao_api.Api(self.place, self.options)

    def trust(self, now: int) -> Trust:
        """Return the CAs of all issuers of the mount, those of the default issuer first."""
        found = self._authorities()
        more = root_file.read(self.options["roots"], f"{self.place}.roots") if "roots" in self.options else []
        by_der = {one.der: one for one in [*found, *more]}
        roots = [one for one in by_der.values() if one.is_self_signed]
        issuing = [one for one in by_der.values() if not one.is_self_signed]
        if not roots:
            raise TlsError(
                f"{self.place}: the mount {self._mount} has no root, only {', '.join(_named(issuing))}. Clients and "
                "servers have to trust the root itself.",
                remedy=f"Put the root's certificate into a file, and name it in {self.place}.roots.",
                code="source_root_missing",
            )
        texts = [self._api.text(f"{self._mount}/issuer/{one}/crl/pem") for one in self._issuers()]
        known = lists.read(texts, [*issuing, *roots], self.place, now, are_used=self._are_lists_used)
        return Trust(OPENBAO, roots, issuing, known.crls, known.revoked, known.warnings)

    def _issuers(self) -> list[str]:
        return [str(one) for one in self._api.read(f"{self._mount}/issuers?list=true", "keys", list)["keys"]]

    def _authorities(self) -> list[Certificate]:
        texts = []
        for name in ("default", *self._issuers()):
            texts += _certificates(self._api.read(f"{self._mount}/issuer/{name}/json", "certificate"))
        return list({one.der: one for text in texts for one in authorities(text, self.place)}.values())

    def sign(self, requests: Sequence[Request], lifetime: int, now: int, *, is_dry: bool) -> Signed:
        """Have each request signed by the role that asks for what the inventory wants.

        The first error that concerns all of them refuses the rest.
        """
        if is_dry:
            return Signed({}, {})
        trust = self.trust(now)
        fit, refused = answers.fit(requests)
        chains: dict[str, Sequence[Certificate]] = {}
        warnings: dict[str, None] = {}
        for_all = ""
        for request in fit:
            try:
                if for_all:
                    raise TlsError(for_all, code="source_unusable")
                chains[request.id] = self._chain(request, lifetime, trust, now)
                warnings.update(dict.fromkeys(self._surprises(request, chains[request.id][0], lifetime, now)))
            except TlsError as error:
                refused[request.id] = error.message
                for_all = for_all or ("" if _concerns_one(error) else error.message)
        with contextlib.suppress(TlsError):  # the certificates are there
            self._api.close()
        return Signed(chains, refused, warnings=list(warnings))

    def _chain(self, request: Request, lifetime: int, trust: Trust, now: int) -> list[Certificate]:
        place = f"requests[{request.id}]"
        path = f"{self._mount}/sign/{self._role}"
        try:
            data = self._api.write(path, _body(request, lifetime), "certificate")
        except bao_api.RefusedError as error:
            raise self._explained(error, place) from error
        found = [one for text in _certificates(data) for one in read_pem(text, place)]
        try:
            return checking.chain(request, found[0], [*found[1:], *trust.issuing], trust.roots, now)
        except TlsError as error:
            raise TlsError(
                f"{place}: role {self._role} of {self.place} issued something else: {error.message}",
                remedy=self._what_to_set(request),
                code="source_issued_other",
            ) from error

    def _explained(self, error: TlsError, place: str) -> TlsError:
        """Return a refusal with what to do; what a role refuses concerns one request alone."""
        if error.code != "source_refused":
            return error
        if "unknown role" in error.fault:
            return TlsError(
                f"{self.place}.role: {error.fault}", remedy="Correct the name of the role.", code="source_role_unknown"
            )
        return bao_api.RefusedError(
            f"{place}: role {self._role} of {self.place} refuses it: {error.fault}",
            remedy=_NOT_ALLOWED if "allowed" in error.fault else "Change that setting of the role, then rerun.",
            code="source_refused",
        )

    def _what_to_set(self, request: Request) -> str:
        flag = "server_flag" if request.authority == profiles.SERVER else "client_flag"
        return f"Set in this role: use_csr_common_name=false, use_csr_sans=false, {flag}=true, and a ttl in the future."

    def _surprises(self, request: Request, leaf: Certificate, lifetime: int, now: int) -> Iterable[str]:
        """Give what is not as asked for, and works nevertheless."""
        role = f"Role {self._role} of {self.place}"
        left = leaf.not_after - now
        if left < lifetime - _CLOCKS:
            yield (
                f"{role} cut the lifetime of new certificates: {durations.in_words(lifetime)} was asked for, "
                f"{durations.in_words(left)} came. Its max_ttl, that of the mount, or the end of its issuer is the "
                "reason. Runs must be more frequent than a third of that time."
            )
        if leaf.extended_key_usage != (profiles.purpose(request.authority),):
            unwanted = "client_flag" if request.authority == profiles.SERVER else "server_flag"
            yield f"{role} issues certificates for servers and clients at once. Set {unwanted}=false in it."
        more = sorted({name.value for name in leaf.names}.difference(name.value for name in request.holder.names))
        if more:
            yield f"{role} added names that nobody asked for, such as {more[0]} in the certificate of {request.id}."


def _concerns_one(error: TlsError) -> bool:
    return error.code in ("source_refused", "source_issued_other") or isinstance(error, bao_api.FailedError)


def _certificates(data: Mapping[str, Any]) -> list[str]:
    """Return the certificates of an answer (PEM), the leaf or issuer first."""
    above = data.get("ca_chain")
    return [str(data["certificate"]), *(map(str, above) if isinstance(above, list) else ())]


def _body(request: Request, lifetime: int) -> Mapping[str, Any]:
    """Return what is asked for. Without ``exclude_cn_from_sans`` a role's name would become a name of a server."""
    names: Sequence[Name] = request.holder.names
    return {
        "csr": request.csr,
        "common_name": request.holder.common_name,
        "alt_names": ",".join(one.value for one in names if one.kind == "dns"),
        "ip_sans": ",".join(one.value for one in names if one.kind == "ip"),
        "ttl": f"{lifetime}s",
        "exclude_cn_from_sans": True,
        "format": "pem",
    }


def _named(found: Iterable[Certificate]) -> list[str]:
    return [repr(one.common_name) for one in found] or ["nothing"]
