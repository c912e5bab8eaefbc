# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether hosts have TLS from authorities that are not here: then none may be made in their place."""

from __future__ import annotations

from typing import Any, Iterable, Mapping, Sequence

from ansible_collections.pgops.tls.plugins.plugin_utils.kinds import KINDS

_SHOWN = 5  # hosts in a message


def tls_directories(hostvars: Mapping[str, Mapping[str, Any]], groups: Mapping[str, Sequence[str]]) -> list[list[str]]:
    """Return each host of the fleet with a directory in which this collection keeps its TLS files."""
    return [
        [host, directory]
        for kind in KINDS
        for host in groups.get(kind.group, ())
        for directory in kind.directories(hostvars[host])
    ]


def shared_out(directories: Iterable[Sequence[str]], hosts: Sequence[str]) -> dict[str, list[list[str]]]:
    """Return which of these directories each host of a play looks at: its own, and its share of other hosts' ones."""
    askers = {host: host for host in hosts}
    found: dict[str, list[list[str]]] = {host: [] for host in hosts}
    for host, directory in directories:
        if host not in askers:
            askers[host] = hosts[(len(askers) - len(hosts)) % len(hosts)]
        found[askers[host]].append([host, directory])
    return found


def refusal(answers: Iterable[Mapping[str, Any]], directory: str, ca_host: str) -> str:
    """Return why no authorities may be made in ``directory``; '' if they may.

    ``answers`` are results of module stat, one for each TLS directory of each host.
    """
    answers = list(answers)
    found = [f"{_host(one)} ({one['item'][1]})" for one in answers if one.get("stat", {}).get("exists")]
    if found:
        return (
            f"postgres_ca_directory: there are no authorities in {directory} on {ca_host}, but hosts have TLS from "
            f"authorities: {_listed(found)}. No host would trust new ones. Nothing was created or changed. If the "
            "authorities are elsewhere (another machine, another checkout), set postgres_ca_host and "
            "postgres_ca_directory to that place. If the directory is lost, restore it from its backup. Only if there "
            "is none, replace the authorities: -e postgres_ca_lost=true -e postgres_server_renew=true "
            "-e postgres_pooler_renew=true -e postgres_client_renew=true."
        )
    unknown = silent(answers)
    if answers and len(unknown) == len({_host(one) for one in answers}):
        return (
            f"postgres_ca_directory: there are no authorities in {directory} on {ca_host}, and no host could be asked "
            f"whether it has TLS from others: {_listed(unknown)}. Nothing was created. Rerun when one can be reached."
        )
    return ""


def silent(answers: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return the hosts that could not be asked, each with the reason."""
    reasons = {_host(one): one.get("msg", "") for one in answers if "stat" not in one}
    return [f"{host} could not be asked: {reason}" for host, reason in reasons.items()]


def _host(answer: Mapping[str, Any]) -> str:
    return str(answer["item"][0])


def _listed(found: Sequence[str]) -> str:
    rest = len(found) - _SHOWN
    return ", ".join(found[:_SHOWN]) + (f" and {rest} more" if rest > 0 else "")
