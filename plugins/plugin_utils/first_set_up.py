# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a server's clients may not expect of its first set-up: defaults of variables that the inventory does not set.

Only a server knows whether it was set up before. So this is said after the first look at it, and before its
certificate is installed.
"""

from __future__ import annotations

from typing import Any, Collection, Iterable, Mapping, NamedTuple

from ansible_collections.pgops.tls.plugins.plugin_utils import gaps, results


class _Default(NamedTuple):
    """Variables, of which one is enough to replace a default, and what that default means."""

    variables: tuple[str, ...]
    meaning: str


_DEFAULTS = (
    _Default(
        ("postgres_server_plaintext",),
        "postgres_server_plaintext is reject: connections without TLS are refused",
    ),
    _Default(
        ("postgres_server_hba", "postgres_server_hba_template"),
        "postgres_server_hba has a certificate rule for each role in postgres_client_identities: these roles cannot "
        "log in with a password",
    ),
    _Default(
        ("postgres_server_names", "postgres_server_extra_names"),
        "postgres_server_names is the name in the inventory: clients that verify another name refuse the server",
    ),
)


def warnings(
    hostvars: Mapping[str, Mapping[str, Any]], hosts: Iterable[str], everywhere: Collection[str] = ()
) -> list[str]:
    """Return a sentence for the servers among ``hosts`` that have the same defaults and no certificate yet.

    ``everywhere`` are variables that the playbook sets for all hosts.
    """
    alike: dict[tuple[str, ...], list[str]] = {}
    for host in hosts:
        variables = hostvars[host]
        if "no_certificate" in (results.converged(variables, "server").get("reasons") or ()):
            given = {*variables, *everywhere}
            meanings = tuple(one.meaning for one in _DEFAULTS if given.isdisjoint(one.variables))
            alike.setdefault(meanings, []).append(host)
    return [
        f"First set-up of {gaps.listed(having)}. These defaults count, because the inventory does not set the "
        f"variables: {'; '.join(meanings)}. If clients need something else, set the variables before you run this "
        "without --check."
        for meanings, having in alike.items()
        if meanings
    ]
