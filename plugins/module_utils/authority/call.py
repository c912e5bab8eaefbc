# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a module that works with the authorities calls its logic, or fails."""

from __future__ import annotations

import time
from typing import Any, Callable, Protocol, Sequence, TypeVar

from ansible.module_utils.basic import missing_required_lib
from ansible_collections.pgops.tls.plugins.module_utils.authority import library
from ansible_collections.pgops.tls.plugins.module_utils.core import options
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError


class Done(Protocol):
    """What was done or, in check mode, would be."""

    @property
    def warnings(self) -> Sequence[str]:
        """Return what there is to warn of."""


_Wish = TypeVar("_Wish")
_Done = TypeVar("_Done", bound=Done)


def carried_out(module: Any, wish: Callable[[dict[str, Any]], _Wish], work: Callable[..., _Done]) -> _Done:
    """Return what ``work`` did for the ``wish`` that the module's options are. What is wrong ends the module."""
    if not library.is_usable():
        message = f"{library.shortcoming()} {missing_required_lib(library.REQUIREMENT)}"
        module.fail_json(msg=message, code="library_unusable", exception=library.PROBLEM)
    try:
        with options.named(module.params["option_names"]):
            done = work(wish(module.params), int(time.time()), is_dry=module.check_mode)
    except TlsError as error:
        module.fail_json(**error.as_result())
    for warning in done.warnings:
        module.warn(warning)
    return done
