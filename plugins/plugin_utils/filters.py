# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the filters of this collection share."""

from __future__ import annotations

import functools
from typing import Any, Callable

from ansible.errors import AnsibleFilterError
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError


def explained(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return ``function`` as a filter: its TlsError becomes an error of the filter, with the same message."""

    @functools.wraps(function)
    def as_filter(*arguments: Any, **options: Any) -> Any:
        try:
            return function(*arguments, **options)
        except TlsError as error:
            raise AnsibleFilterError(error.message) from error

    return as_filter
