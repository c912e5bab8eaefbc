# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The variables by which messages about a role call options, on the controller as on hosts."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import ContextManager, Mapping

from ansible.module_utils.common.yaml import yaml_load  # with the C library where there is one
from ansible_collections.pgops.tls.plugins.module_utils.core import options

_ROLES = Path(__file__).resolve().parents[2] / "roles"


def named(role: str) -> ContextManager[None]:
    """Have messages name the variables of a role, as those of the modules that it calls do."""
    return options.named(of_role(role))


@functools.lru_cache(maxsize=None)
def of_role(role: str) -> Mapping[str, str]:
    """Return the variables of a role by the options that it gives their values to, as the role's ``vars`` have them."""
    path = _ROLES / role / "vars" / "main.yml"
    variables = yaml_load(path.read_text(encoding="utf-8")) if path.exists() else {}
    found: Mapping[str, str] = variables.get(f"__{role}_option_names", {})
    return found
