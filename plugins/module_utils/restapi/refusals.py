# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What stops a run before anything changes, because of how a Patroni runs or is configured."""

from __future__ import annotations

from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.core.options import option
from ansible_collections.pgops.tls.plugins.module_utils.patroni import settings
from ansible_collections.pgops.tls.plugins.module_utils.restapi import former
from ansible_collections.pgops.tls.plugins.module_utils.restapi.plan import Found, Plan
from ansible_collections.pgops.tls.plugins.module_utils.restapi.target import API, Target
from ansible_collections.pgops.tls.plugins.module_utils.x509.certificate import read_chain
from ansible_collections.pgops.tls.plugins.module_utils.x509.names import covers_host


def refuse_environment(target: Target, found: Found) -> None:
    """Refuse a process whose environment decides on what is to be written into its file. Raises TlsError."""
    ours = {f"PATRONI_{section}_{key}".upper() for section, keys in target.values.items() for key in keys}
    wrong = sorted(ours.intersection(found.settings.environment))
    if wrong:
        raise TlsError(
            f"{found.config}: environment variables of Patroni take precedence over this file: {', '.join(wrong)}. "
            "Nothing was changed.",
            remedy="Move them into the file, and restart Patroni (in patronictl pause). Then rerun.",
            code="patroni_environment",
        )


def refuse_other_name(target: Target, found: Found) -> None:
    """Refuse a certificate that lacks the host by which other members reach the REST API. Raises TlsError."""
    host, came = settings.host_of(found.settings.address), target.pair.certificates.get(API, "")
    own = target.pair.server.spec.names_to_come(next(iter(read_chain(came.encode(), API)), None))
    if own is not None and not covers_host(own, host):
        raise TlsError(
            f"{found.config}: other members reach the REST API at {found.settings.address} (restapi.connect_address), "
            f"and {host!r} is none of the names of this server ({', '.join(name.value for name in own)}). They would "
            "refuse its certificate. Nothing was changed.",
            remedy=f"Add it to {option('names')}, as {{name: {host}, from: []}} if no client uses it.",
            code="patroni_name_missing",
        )


def refuse_silence(found: Found) -> None:
    """Refuse to change what a REST API uses that gives no answer now. Raises TlsError."""
    if found.answer is None:
        raise TlsError(
            f"Patroni's REST API ({found.settings.address}) gives no answer. Nothing was changed.",
            remedy="If it listens, an earlier reload may have failed. Do not reload Patroni then: another reload could "
            "block it, and end in two primaries. Run patronictl pause, restart Patroni, then patronictl resume. Rerun.",
            code="patroni_api_silent",
        )


def refuse_foreign_clients(target: Target, found: Found) -> None:
    """Refuse to replace the authorities of clients that the REST API asks for certificates. Raises TlsError."""
    cafile = found.settings.restapi.get("cafile", "")
    if found.settings.verifies_clients and cafile != target.values["restapi"]["cafile"]:
        raise TlsError(
            f"{found.config}: restapi.verify_client is {found.settings.restapi['verify_client']}, with certificates of "
            f"{cafile or 'other authorities'}. Members and programs that have those would be refused. Nothing was "
            "changed.",
            remedy="Set verify_client: none on all members and reload Patroni, rerun for all members, then set it "
            "again. Programs of yours that use the REST API need new client certificates before that.",
            code="patroni_verify_client",
        )


def refuse_foreign_trust(target: Target, found: Found) -> None:
    """Refuse to replace a certificate while members, which are configured alike, would refuse the new one.

    Raises TlsError.
    """
    cacert = found.settings.ctl.get("cacert") or found.settings.restapi.get("cafile", "")
    if not former.is_foreign(target, found.settings) or not cacert:
        return
    known = {one.der for one in read_chain(found.own_trust, cacert)}
    lacking = [one.common_name for one in target.pair.server.offer.roots if one.is_self_signed and one.der not in known]
    if lacking:
        raise TlsError(
            f"{found.config}: the REST API has a certificate of another authority, and this member verifies others "
            f"with {cacert}, which lacks {', '.join(map(repr, lacking))}. It would refuse those that get theirs first. "
            "Nothing was changed.",
            remedy=f"Append the roots of the server authority to {cacert} on all members, reload Patroni, then rerun.",
            code="patroni_trust_missing",
        )


def new_https(plan: Plan, found: Found) -> list[str]:
    """Return what must follow where the REST API gets TLS for the first time."""
    if plan.text is None or found.answer is None or found.answer.has_tls:
        return []
    warning = (
        f"Patroni's REST API ({found.settings.address}) had no TLS, and is reached by https only from now on. Health "
        "checks (HAProxy: check check-ssl) and programs that use http must follow. patronictl of members without "
        "these files refuses it."
    )
    return [warning]
