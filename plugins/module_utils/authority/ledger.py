# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The record of issued certificates: one JSON object a line, only ever added to.

A line is on disk before its certificate leaves the CA's host, so what is in use can always be found here.
"""

from __future__ import annotations

import contextlib
import json
import os
from typing import Any, Iterator, Mapping, Sequence

from ansible_collections.pgops.tls.plugins.module_utils.core import clock, files
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError, shown
from ansible_collections.pgops.tls.plugins.module_utils.x509.certificate import Certificate

FILE = "ledger.jsonl"
KIT = "kit:"  # begins the ids of kits; no host of an inventory can be called so
REVOKED = "revoked.jsonl"  # beside it, see revocation.py
_CHUNK = 65536
_BLOCK = 1 << 20  # bytes that are searched at once
_MANY = 20  # texts: to look for more of them costs more than to parse every line
_ENDS = b'"not_after": "'  # what is before the end of a certificate in a line, as ``append`` writes it


def entry(
    authority: str, id_: str, leaf: Certificate, reasons: Sequence[str], issued: int, *, source: str = ""
) -> dict[str, Any]:
    """Return the line of a certificate. ``issued`` is in Unix seconds.

    ``source`` is the type of the source that has issued it, '' for an own authority.
    """
    return {
        "serial": f"{leaf.serial:x}",
        "authority": authority,
        "id": id_,
        "subject": leaf.common_name,
        "names": [name.value for name in leaf.names],
        "not_before": clock.instant(leaf.not_before),
        "not_after": clock.instant(leaf.not_after),
        "issued": clock.instant(issued),
        "issuer": leaf.authority_key_id,
        "reasons": list(reasons),
        "sha256": leaf.sha256,
        "key_sha256": leaf.key_sha256,
        **({"source": source} if source else {}),
    }


def append(directory: str, lines: Sequence[Mapping[str, Any]]) -> None:
    """Add a batch of lines in one write and make it durable. The caller holds the directory's lock.

    Raises OSError; then the ledger is as it was before.
    """
    path = os.path.join(directory, FILE)
    batch = b"".join(json.dumps(line, sort_keys=False).encode("ascii") + b"\n" for line in lines)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o644)
    try:
        end = _mended_end(descriptor)
        try:
            _write(descriptor, batch, end)
            os.fsync(descriptor)
        except OSError:
            os.ftruncate(descriptor, end)
            raise
    finally:
        os.close(descriptor)
    if end == 0:
        files.sync_directory(directory)


def exists(directory: str) -> bool:
    """Return whether certificates were issued from this directory, without reading the ledger."""
    try:
        return os.stat(os.path.join(directory, FILE)).st_size > 0
    except FileNotFoundError:
        return False


def has_issued(directory: str, authority: str) -> bool:
    """Return whether the ledger holds a certificate of an own authority. Raises TlsError, OSError."""
    lines = matching(directory, [f'"authority": {json.dumps(authority)}'.encode()])
    return any(line["authority"] == authority and "source" not in line for line in lines)


def has(directory: str, leaf: Certificate) -> bool:
    """Return whether the ledger holds a certificate. Raises TlsError, OSError."""
    lines = matching(directory, [f'"sha256": {json.dumps(leaf.sha256)}'.encode()])
    return any(line.get("sha256") == leaf.sha256 for line in lines)


def knows_sources(directory: str) -> bool:
    """Return whether the ledger holds a certificate that a source has issued. Raises TlsError, OSError."""
    return any("source" in line for line in matching(directory, [b'"source": "']))


def unexpired(directory: str, now: int) -> dict[str, list[str]]:
    """Return the serial numbers of the certificates that have not ended ``now`` (Unix seconds), by authority.

    A damaged line counts as none. Raises OSError.
    """
    found: dict[str, list[str]] = {}
    for one in _unexpired(directory, now):
        found.setdefault(one["authority"], []).append(one["serial"])
    return found


def issuers(directory: str, authority: str, now: int) -> dict[str, str]:
    """Return the key identifiers of who issued the certificates of an authority, by their serial numbers.

    Only those that have not ended ``now`` (Unix seconds). Raises OSError.
    """
    return {one["serial"]: one["issuer"] for one in _unexpired(directory, now) if one["authority"] == authority}


def _unexpired(directory: str, now: int) -> Iterator[dict[str, Any]]:
    """Return the lines of certificates that have not ended. Only those are parsed: a ledger is long."""
    present, path = clock.instant(now).encode("ascii"), os.path.join(directory, FILE)
    if not exists(directory):
        return
    with open(path, "rb") as stream:
        lines = [line for line in stream if line.partition(_ENDS)[2][: len(present)] > present]
    for line in lines:
        with contextlib.suppress(TlsError):
            yield _parsed(line, path)


def matching(directory: str, needles: Sequence[bytes]) -> Iterator[dict[str, Any]]:
    """Return the lines that hold one of some texts, oldest first. Without texts the ledger is not read.

    Only what holds a text is parsed, as long as they are few: a ledger is long, and only ever gets longer. Raises
    TlsError for such a line that is damaged, OSError.
    """
    needles = needles if len(needles) <= _MANY else [b"{"]
    path = os.path.join(directory, FILE)
    if not needles or not exists(directory):
        return
    with open(path, "rb") as stream:
        while lines := stream.readlines(_BLOCK):
            block = b"".join(lines)
            wanted = [needle for needle in needles if needle in block]
            for line in lines if wanted else ():
                if line.endswith(b"\n") and any(needle in line for needle in wanted):  # else a run died while it wrote
                    yield _parsed(line, path)


def _parsed(line: bytes, path: str) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(line)
        for key in ("serial", "authority", "id", "subject", "not_after", "issuer"):
            if not isinstance(found[key], str):
                raise TypeError(key)
    except (ValueError, TypeError, KeyError) as error:
        raise TlsError(
            f"{path}: expected a JSON object for each certificate, found {shown(line[:200])} ({error!r}).",
            remedy="Restore the ledger from its backup.",
            code="ledger_damaged",
        ) from None
    return found


def check_writable(directory: str) -> None:
    """Raise TlsError when a later append could not open the ledger."""
    path = os.path.join(directory, FILE)
    target = path if os.path.lexists(path) else directory
    if os.path.islink(path) or not os.access(target, os.W_OK):
        raise TlsError(
            f"{target}: expected a place that user id {os.geteuid()} can write the ledger of issued certificates to, "
            "found another. Nothing was issued.",
            remedy="Correct its owner and mode.",
            code="ledger_not_writable",
        )


def _write(descriptor: int, batch: bytes, at: int) -> None:
    while batch:
        written = os.pwrite(descriptor, batch, at)
        batch, at = batch[written:], at + written


def _mended_end(descriptor: int) -> int:
    """Return where the next line starts, after a look at the last line only.

    A last line without its end is what a run left that died while it wrote: its certificates were never handed out, so
    what is not a whole object is cut off.
    """
    end = os.fstat(descriptor).st_size
    if end == 0 or os.pread(descriptor, 1, end - 1) == b"\n":
        return end
    start = _start_of_last_line(descriptor, end)
    if _is_whole(os.pread(descriptor, end - start, start)):
        _write(descriptor, b"\n", end)
        return end + 1
    os.ftruncate(descriptor, start)
    return start


def _start_of_last_line(descriptor: int, end: int) -> int:
    while end > 0:
        start = max(0, end - _CHUNK)
        found = os.pread(descriptor, end - start, start).rfind(b"\n")
        if found >= 0:
            return start + found + 1
        end = start
    return 0


def _is_whole(line: bytes) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except ValueError:
        return False
