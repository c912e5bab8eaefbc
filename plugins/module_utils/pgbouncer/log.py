# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What PgBouncer wrote to its log since a moment, as far as it is about TLS or its configuration.

Other lines, and values of settings, may hold passwords: they never leave this module.
"""

from __future__ import annotations

import os
import re
from typing import Mapping, Sequence

from ansible_collections.pgops.tls.plugins.module_utils.postgres.log import Position, since

_RELOADED = "RELOAD command issued"
_LINE = re.compile(r"\[\d+\] (?:LOG|WARNING|ERROR|FATAL) .*")
_OF_RELOAD = re.compile(
    r"(?:WARNING|ERROR|FATAL) (?:.*TLS (?:setup failed|configuration could not)|unknown parameter|invalid value"
    r"|.*in configuration|.*include file|syntax error|config file|auth_type=cert|.*requires client_tls_sslmode)"
)
_OF_BACK = re.compile(r"TLS connect error|TLS handshake error|sslreq processing failed|tls_sbufio_recv: read failed")
_VALUE = re.compile(r'(invalid value |syntax error )".*"')
_LONGEST, _MOST = 300, 10  # characters of a line, lines


def position(config: Mapping[str, str]) -> Position:
    """Return the present end of the log that these settings name."""
    path = config.get("logfile", "")
    try:
        return Position(path, os.stat(path).st_size) if path else Position(None, 0)
    except OSError:
        return Position(None, 0)


def tells_of_reload(lines: Sequence[str]) -> bool:
    """Return whether a reload is in the lines: then so is what PgBouncer had to say of it."""
    return any(_RELOADED in line for line in lines)


def written(start: Position) -> list[str]:
    """Return the lines since ``start``."""
    return since(start)


def refusals(lines: Sequence[str]) -> list[str]:
    """Return the lines that say why a reload did not take the files."""
    return _chosen(lines, _OF_RELOAD)


def of_back(lines: Sequence[str]) -> list[str]:
    """Return the lines on connections to PostgreSQL that failed because of TLS."""
    return _chosen(lines, _OF_BACK)


def _chosen(lines: Sequence[str], wanted: re.Pattern[str]) -> list[str]:
    found = [match[0] for match in map(_LINE.search, lines) if match and wanted.search(match[0])]
    safe = [_VALUE.sub(r'\1"..."', line)[:_LONGEST] for line in found if "password" not in line.lower()]
    return list(dict.fromkeys(safe))[-_MOST:]
