# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How the module of a program that is server and client at once calls its transaction, and ends."""

from __future__ import annotations

from typing import Any, Callable, Mapping, Protocol, Sequence, TypeVar

from ansible_collections.pgops.tls.plugins.module_utils.core import options
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.no_log import hide_secrets


class Outcome(Protocol):
    """What a transaction did or, in check mode, would do."""

    @property
    def changes(self) -> Sequence[str]:
        """Return it in words."""

    @property
    def warnings(self) -> Sequence[str]:
        """Return what there is to warn of."""


_Outcome = TypeVar("_Outcome", bound=Outcome)


def answer(
    module: Any,
    pem: Sequence[str],
    converged: Callable[..., _Outcome],
    result: Callable[[_Outcome], Mapping[str, Any]],
    difference: Any,
) -> None:
    """Call ``converged`` with the module's options, and end with its ``result``.

    ``difference`` is a Python module with a function ``of``, which is imported only if there is a difference to show.
    ``pem`` are the options with certificates: a private key among them would be logged.
    """
    hide_secrets(module, *pem)
    try:
        with options.named(module.params["option_names"]):
            outcome = converged(module.params, check_mode=module.check_mode)
    except TlsError as error:
        module.fail_json(**error.as_result())
    for warning in outcome.warnings:
        module.warn(warning)
    facts = result(outcome)
    if facts.get("next_run"):
        module.warn(f"The next run with what is declared is going to change: {'; '.join(facts['next_run'])}")
    # a call that only asks changes nothing live: the difference is shown by the call that installs
    asks = facts["requests"] and not module.check_mode
    module.exit_json(**facts, diff=[] if asks or not outcome.changes else difference.of(outcome))
