# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a module hides the passwords in a text that it is given, and shows the rest of it."""

from __future__ import annotations

from typing import Any, Iterable

from ansible_collections.pgops.tls.plugins.module_utils.postgres import passwords

try:
    from ansible.module_utils.secrets import register_secrets
except ImportError:  # before ansible-core 2.22

    def register_secrets(values: Iterable[str]) -> None:
        """Do nothing: it is the module that hides its secrets."""


def hide_passwords(module: Any, rules: str) -> None:
    """Hide the passwords of rules wherever the result has them, and not the whole text, or nothing of it could be seen.

    Ansible logs the options before any code of ours runs; therefore the option as a whole is one that it does not log.
    """
    module.no_log_values.discard(rules)
    module.no_log_values.update(passwords.secrets(rules))
    # From ansible-core 2.22 on it is the controller that hides, and the module tells it what: so far, the whole text
    told = getattr(module, "_new_secrets", None)
    if told is not None:
        told.flush()
    register_secrets(passwords.secrets(rules))
