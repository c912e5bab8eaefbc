# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The library that speaks ACME. Only the host of the authorities needs it, for a source of this type."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from typing import Any, NamedTuple

from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError

_PARTS = ("acme.client", "acme.errors", "acme.messages", "josepy", "requests")


class Library(NamedTuple):
    """The parts of it that are used here."""

    client: Any
    errors: Any
    messages: Any
    jose: Any
    requests: Any

    @property
    def failures(self) -> tuple[type[Exception], ...]:
        """Return what its calls raise: for answers of the CA, for its TLS and network, for what is not ACME at all."""
        of_others = (self.jose.errors.Error, self.requests.exceptions.RequestException)
        return (self.errors.Error, *of_others, ValueError, KeyError, AttributeError, TypeError)


def check(place: str) -> None:
    """Raise TlsError, naming ``place``, if there is no such library. Nothing is imported: that takes a while."""
    missing = next((name for name in ("acme", "josepy") if importlib.util.find_spec(name) is None), None)
    if missing is not None:
        raise _unusable(place, f"{missing} is not installed")


def load(place: str) -> Library:
    """Return the library. Raises TlsError, naming ``place``."""
    try:
        return Library(*map(importlib.import_module, _PARTS))
    except (ImportError, AttributeError) as error:  # AttributeError: of another library that is too new for it
        raise _unusable(place, str(error)) from error


def _unusable(place: str, found: str) -> TlsError:
    return TlsError(
        f"{place}.type: acme needs the Python library acme on the host of the authorities, for {sys.executable}. "
        f"Found: {found}. Nothing was changed.",
        remedy="Install it for this Python: pip install acme, or the package python3-acme of Debian and Ubuntu.",
        code="source_library_missing",
    )
