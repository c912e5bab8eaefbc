# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a module hides the secrets in what it is given, and shows the rest of it."""

from __future__ import annotations

from typing import Any, Iterable, Iterator, Mapping

from ansible_collections.pgops.tls.plugins.module_utils.core.errors import holds_private_key
from ansible_collections.pgops.tls.plugins.module_utils.postgres import redaction

try:
    from ansible.module_utils.secrets import register_secrets
except ImportError:  # before ansible-core 2.22

    def register_secrets(values: Iterable[str]) -> None:
        """Do nothing: the module hides its secrets itself."""


def hide_secrets(module: Any, *hidden: str, rules: str = "", secrets: Iterable[str] = ()) -> None:
    """Hide ``secrets``, the passwords of ``rules``, and each text with a private key, wherever the result has them.

    Ansible logs the options before any code of ours runs. So the options that may hold a secret, ``hidden``, are
    declared no_log. What is not secret in them is shown again.
    """
    keys = {text for text in _texts(module.params) if holds_private_key(text)}
    module.no_log_values.difference_update(_texts([module.params[name] for name in hidden]))
    module.no_log_values.update(keys, redaction.secrets(rules), secrets)
    # From ansible-core 2.22 on, the controller hides what the module announces: so far, whole options
    announced = getattr(module, "_new_secrets", None)
    if announced is not None:
        announced.flush()
    register_secrets(module.no_log_values)


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        yield from _texts(list(value.values()))
    elif isinstance(value, (list, tuple)):
        for inner in value:
            yield from _texts(inner)
