# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a program needs that is server and client at once, as the options of its module say it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Mapping, Sequence

from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError, shown
from ansible_collections.pgops.tls.plugins.module_utils.core.lazy_import import lazy_import
from ansible_collections.pgops.tls.plugins.module_utils.credential.spec import (
    Offer,
    Spec,
    anchors,
    authorities,
    plain_pem,
    serials,
)
from ansible_collections.pgops.tls.plugins.module_utils.deployment.pairs import Credential, Declared
from ansible_collections.pgops.tls.plugins.module_utils.x509 import certificate
from ansible_collections.pgops.tls.plugins.module_utils.x509.names import parse_all

if TYPE_CHECKING:
    from ansible_collections.pgops.tls.plugins.module_utils.core import durations
else:
    durations = lazy_import("core.durations")


def read(
    options: Mapping[str, Any], directory: str, server_files: tuple[str, str, str], client_files: tuple[str, str, str]
) -> Declared:
    """Return it, with the name, the certificate's and the key's file of each credential. Raises TlsError.

    ``role`` among the options is the common name of the client's certificate.
    """
    roots, trusted = (anchors(options[name], name) for name in ("roots", "trusted_clients"))
    server_issuing, client_issuing = (authorities(options[name], name) for name in ("server_issuing", "client_issuing"))
    before = durations.seconds(options["renew_before"], "renew_before") if options["renew_before"] else None
    common = {"key_type": options["key_type"], "renew_before": before, "forced": options["renew"]}
    server = Spec(
        common_name=None,
        names=parse_all(options["names"], "names"),
        extended_key_usage=certificate.SERVER_AUTH,
        issuing=server_issuing,
        revoked=serials(options["server_revoked"], "server_revoked"),
        **common,
    )
    client = Spec(
        common_name=options["role"],
        names=(),  # a program may accept a dNSName as the user's name, as PgBouncer does
        extended_key_usage=certificate.CLIENT_AUTH,
        issuing=client_issuing,
        revoked=serials(options["client_revoked"], "client_revoked"),
        **common,
    )
    return Declared(
        directory=directory,
        server=Credential(*server_files, server, Offer(server_issuing, roots)),
        client=Credential(*client_files, client, Offer(client_issuing, trusted)),
        roots=plain_pem(roots),
        trusted_clients=plain_pem(trusted),
        certificates=_certificates(options["certificates"], (server_files[0], client_files[0])),
        later=frozenset(name for name, pem in options["certificates"].items() if not pem),
    )


def _certificates(found: Mapping[str, Any], names: Sequence[str]) -> dict[str, str]:
    """Return the certificates that came, by the ``names`` of credentials; '' stands for one that comes in a later run.

    Raises TlsError for other names and private keys.
    """
    for name, pem in found.items():
        if name not in names:
            raise TlsError(
                f"certificates: found {shown(name)}, expected {' and '.join(names)}.", code="certificate_unexpected"
            )
        certificate.refuse_private_key(str(pem), f"certificates: {name}")
    return {name: str(pem) for name, pem in found.items() if pem}
