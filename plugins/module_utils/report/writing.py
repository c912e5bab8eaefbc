# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The files of a report: each is replaced by one rename, under the lock of their directory."""

from __future__ import annotations

import json
import os
from typing import Any

from ansible_collections.pgops.tls.plugins.module_utils.core import files
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.report import facts, last_run, metrics, page

DATA, PAGE, METRICS = NAMES = ("report.json", "report.html", "report.prom")
_MODE, _DIRECTORY_MODE = 0o644, 0o755  # a web server and the node exporter read them; nothing in them is secret


def write(directory: str, learned: facts.Learned, now: int, *, is_dry: bool) -> dict[str, Any]:
    """Write report.json, report.html and report.prom; return the report. ``now`` is in Unix seconds.

    The last report.json is what is remembered of earlier looks. A dry run writes nothing. Raises TlsError, OSError.
    """
    if not directory.startswith("/"):
        raise TlsError(f"directory: {directory!r}, expected an absolute path.", code="path_not_absolute")
    directory = os.path.normpath(directory)
    if is_dry:
        return _report(directory, learned, now)
    files.make_directory(directory, _DIRECTORY_MODE)
    with files.locked(directory):
        data = _report(directory, learned, now)
        texts = {
            DATA: json.dumps(data, indent=2, ensure_ascii=False) + "\n",
            PAGE: page.text(data),
            METRICS: metrics.text(data),
        }
        for name, text in texts.items():
            files.write_atomically(os.path.join(directory, name), text.encode("utf-8", "replace"), _MODE)
    return data


def _report(directory: str, learned: facts.Learned, now: int) -> dict[str, Any]:
    """Return the report, with what runs have noted in its directory. Raises TlsError, OSError."""
    return {**facts.report(learned, _before(directory), now), "last_successful_run": last_run.read(directory)}


def _before(directory: str) -> dict[str, Any]:
    """Return the last report; an empty one if there is none. Raises TlsError for one that cannot be read."""
    path = os.path.join(directory, DATA)
    content = files.read(path)
    if content is None:
        return {}
    try:
        found: dict[str, Any] = json.loads(content)
        problem = "" if found["version"] == facts.VERSION else f"its version is {found['version']!r}"
    except (ValueError, KeyError, TypeError) as error:
        problem = f"{type(error).__name__}: {error}"
    if problem:
        raise TlsError(
            f"{path}: expected the last report, found something else ({problem}). It records who was seen in earlier "
            "looks.",
            remedy="Restore it, or rename it to start over.",
            code="report_damaged",
        )
    return found
