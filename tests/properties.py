# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What tests with generated input have in common: anything but a result and a TlsError is a crash."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from hypothesis import HealthCheck, settings

COMMON = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


def attempt(call: Callable[..., Any], *arguments: Any, **options: Any) -> tuple[Any, str]:
    """Return what a call returns and '', or None and the message of its TlsError."""
    try:
        return call(*arguments, **options), ""
    except TlsError as error:
        return None, error.message
