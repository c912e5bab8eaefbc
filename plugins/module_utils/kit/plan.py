# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which kits are to be made, and why: decisions on what is declared, what is there, the ledger and the clock."""

from __future__ import annotations

from typing import Any, Iterable, Mapping, NamedTuple, Sequence

from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.core.options import option
from ansible_collections.pgops.tls.plugins.module_utils.credential import due
from ansible_collections.pgops.tls.plugins.module_utils.credential.spec import Spec
from ansible_collections.pgops.tls.plugins.module_utils.kit import contents
from ansible_collections.pgops.tls.plugins.module_utils.kit.archive import Found
from ansible_collections.pgops.tls.plugins.module_utils.kit.declared import PREFIX, Kit
from ansible_collections.pgops.tls.plugins.module_utils.x509.certificate import CLIENT_AUTH, Certificate

NEEDLE = f'"id": "{PREFIX}'.encode()  # in each line of the ledger that is about a kit


class Options(NamedTuple):
    """What is the same for all kits. ``renew_before`` is in seconds, None for two thirds of a certificate's life."""

    key_type: str
    renew_before: int | None
    forced: bool


class Authority(NamedTuple):
    """A client authority: the CAs that issue now or whose certificates may stay, and revoked serial numbers."""

    issuing: Sequence[Certificate]
    revoked: Sequence[str]


def spec(kit: Kit, authority: Authority, options: Options, leaf: Certificate | None = None) -> Spec:
    """Return what the certificate of a kit must be. With a request, any type of key in a ``leaf`` is right."""
    key_type = leaf.key_type if leaf and not kit.has_key else options.key_type
    return Spec(
        common_name=kit.role,
        names=(),
        key_type=key_type,
        extended_key_usage=CLIENT_AUTH,
        issuing=authority.issuing,
        renew_before=options.renew_before,
        forced=options.forced,
        revoked=authority.revoked,
    )


class Present(NamedTuple):
    """What there is of a kit: its archive, and the public key in its request (DER; b'' without one).

    ``newest`` is the serial number of its last certificate in the ledger, '' for none.
    """

    found: Found | None
    public_key: bytes
    newest: str


def reasons(kit: Kit, present: Present, wanted: Spec, trust: contents.Trust, now: int) -> list[str]:
    """Return why a kit must be made anew, with a new certificate; an empty list if it is as it must be.

    ``now`` is in Unix seconds. A kit with other roots
    has another certificate, too: its serial number says which kit its holder has.
    """
    found, public_key, newest = present
    if found is None:
        return ["no_kit"]
    chain = found.chain
    if not chain:
        return ["kit_damaged"]
    why = due.reasons(chain[0], wanted, now, chain[1:])
    if found.files.get(contents.ROOTS) != trust.files[contents.ROOTS]:
        why.append("trust_changed")
    has_key = any(name in found.files for name in contents.SECRET)
    if has_key != kit.has_key or (public_key and public_key != chain[0].public_key):
        why.append("key_changed")
    if newest != f"{chain[0].serial:x}":
        why.append("not_newest_in_ledger")
    return why


def newest_serials(lines: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """Return the serial number of the newest certificate of each kit in lines of the ledger, by its id."""
    found: dict[str, Mapping[str, Any]] = {}
    for line in lines:
        if line["id"].startswith(PREFIX) and str(line.get("issued", "")) >= str(
            found.get(line["id"], {}).get("issued", "")
        ):
            found[line["id"]] = line
    return {id_: str(line["serial"]) for id_, line in found.items()}


def refuse_shared_keys(keys: Mapping[Kit, bytes]) -> None:
    """Raise TlsError for a key (DER) that is in the requests of two kits; b'' is none."""
    having: dict[bytes, Kit] = {}
    for kit, key in keys.items():
        other = having.setdefault(key, kit)
        if key and other is not kit:
            raise TlsError(
                f"{option('kits')}[{kit.name}].csr: kit {other.name} has a request for the same key. Nothing was "
                "changed.",
                remedy="Ask for a request with a new key.",
                code="kit_request_shared",
            )


def refuse_used_key(
    kit: Kit, key_sha256: str, lines: Iterable[Mapping[str, Any]], revoked: Mapping[str, Sequence[str]]
) -> None:
    """Raise TlsError if the key in the request of a kit has a certificate of somebody else, or a revoked one.

    That may happen long after the kit was declared, so it is no reason to make no other kit. ``lines`` are those of
    the ledger, ``revoked`` are serial numbers by authority.
    """
    place = f"{option('kits')}[{kit.name}].csr"
    of_key = [line for line in lines if line.get("key_sha256") == key_sha256]
    for line in of_key:
        if line["id"] != kit.id:
            raise TlsError(
                f"{place}: the key in this request is that of {line['id']} ({line['authority']} certificate "
                f"{line['serial']}), so the kit was not made.",
                remedy="Ask for a request with a new key, or remove the kit.",
                code="kit_key_of_another",
            )
    ended = [line["serial"] for line in of_key if line["serial"] in revoked.get(line["authority"], ())]
    if ended:  # its holder has the newest
        raise TlsError(
            f"{place}: certificate {ended[-1]} for the key in this request is revoked, so the kit was not made.",
            remedy="Ask for a request with a new key, or remove the kit.",
            code="kit_key_revoked",
        )
