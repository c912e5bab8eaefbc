# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Modules of this collection that are imported when something of them is used.

On a managed host nothing is compiled beforehand, so importing is most of what a run costs that changes nothing; and
such a run needs neither the code that changes something nor the code that explains a failure. Use it as

    if TYPE_CHECKING:
        from ansible_collections.pgops.tls.plugins.module_utils.server import rehearsal
    else:
        rehearsal = lazy_import("server.rehearsal")

Ansible finds out what to transfer by reading import statements, wherever they are.
"""

from __future__ import annotations

import contextlib
import importlib
import os
from typing import Any

from ansible_collections.pgops.tls.plugins.module_utils.core.privileges import as_root

_PACKAGE = __name__.rsplit(".", 2)[0]


class _Lazy:
    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, attribute: str) -> Any:
        """Return a name of the module, importing that first if need be."""
        # Who the process acts as may not be able to read the archive that Ansible has transferred
        with as_root() if os.getuid() == 0 else contextlib.nullcontext():
            module = importlib.import_module(f"{_PACKAGE}.{self._name}")
        return getattr(module, attribute)


def lazy_import(name: str) -> Any:
    """Return a stand-in for the module of ``name`` below module_utils, such as ``server.rehearsal``."""
    return _Lazy(name)
