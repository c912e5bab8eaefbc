# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Variables of the authorities: a run reads them from its first host, so no other host may have another value.

It would be ignored. That the others have none at all is no fault: then the first host's counts for all.
"""

from __future__ import annotations

import os
from typing import Any, Mapping, Sequence

from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.plugin_utils import remembered, unresolved
from ansible_collections.pgops.tls.plugins.plugin_utils.graph import Hostvars, Variables

Options = Mapping[str, Mapping[str, Any]]


def ignored(hostvars: Hostvars, hosts: Sequence[str], options: Options) -> dict[str, list[str]]:
    """Return a sentence for each variable of a run's ``hosts`` that counts for none of them, with those that have it.

    ``options`` are what the role says of the variables. Templates take long, and are filled only where a host has not
    written the same as the first one. No sentence shows a value, which may be a secret.
    """
    found: dict[str, list[str]] = {}
    first = hostvars[hosts[0]] if hosts else {}
    written = remembered.written(first)
    for host in hosts[1:]:
        own = remembered.written(hostvars[host])
        for name, option in options.items():
            is_alike = name not in own or _same(own[name], written.get(name, option.get("default")))
            if not is_alike and _differ(name, option, hostvars[host], first):
                found.setdefault(_sentence(name, hosts[0]), []).append(host)
    return found


def _same(one: Any, other: Any) -> bool:
    return one is other or bool(one == other)


def _differ(name: str, option: Mapping[str, Any], *hosts: Variables) -> bool:
    """Return whether two hosts have different values of a variable; what has none, another check reports."""
    try:
        one, other = (_typed(option, unresolved.filled(host.get(name))) for host in hosts)
    except (*unresolved.ERRORS, TlsError):
        return False
    return not _same(one, other)


def _typed(option: Mapping[str, Any], value: Any) -> Any:
    """Return a value as a role gets it: of the type of its option, or the default."""
    if value is None:
        value = option.get("default")
    typed = ArgumentSpecValidator({"value": {**option, "required": False}}).validate({"value": value})
    found = typed.validated_parameters["value"]
    return os.path.normpath(found) if option.get("type") == "path" and found else found


def _sentence(name: str, first: str) -> str:
    return (
        f"{name}: found another value than {first} has. A run reads it from one host, and ignores the others. "
        "Set it for all hosts, in group_vars/all.yml."
    )
