# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The archive of a kit: a zip file with one folder, replaced by one rename, and nobody else's file."""

from __future__ import annotations

import io
import os
import stat
import time
import zipfile
from typing import Any, Mapping, NamedTuple

from ansible_collections.pgops.tls.plugins.module_utils.core import files
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.kit import contents
from ansible_collections.pgops.tls.plugins.module_utils.kit.declared import Kit
from ansible_collections.pgops.tls.plugins.module_utils.x509.certificate import Certificate, read_chain

_MODE = 0o600
_LARGEST = 4 * 1024 * 1024  # bytes of a file in an archive that is read


class Found(NamedTuple):
    """An archive that is there: what it says of itself, and its files by their names."""

    record: Mapping[str, Any]
    files: Mapping[str, bytes]

    @property
    def chain(self) -> list[Certificate]:
        """Return its certificate and the CAs above it; an empty list if they cannot be read."""
        return read_chain(self.files.get(contents.CERTIFICATE), contents.CERTIFICATE)


def look(kit: Kit) -> Found | None:
    """Return the archive of a kit, None if there is none. Raises TlsError for a file that is not this kit's."""
    if not os.path.lexists(kit.path):
        return None
    try:
        if os.path.islink(kit.path):
            raise ValueError("a symbolic link")
        content = files.read(kit.path) or b""
        found = _unpacked(content, kit.name)
        record = contents.read_record(found.get(contents.RECORD, b""))
    except (OSError, ValueError, zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, TlsError):
        raise TlsError(
            f"{kit.path}: expected the archive of kit {kit.name}, or nothing, found another file. Nothing was changed.",
            remedy="Choose another directory for the kit, or keep that file elsewhere.",
            code="kit_path_taken",
        ) from None
    return Found(record, found)


def _unpacked(content: bytes, name: str) -> dict[str, bytes]:
    """Return the files in the folder of an archive. Raises ValueError for one that is larger than any of a kit's."""
    found = {}
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        for one in archive.infolist():
            folder, _slash, file = one.filename.partition("/")
            if folder == name and file:
                if one.file_size > _LARGEST:
                    raise ValueError(one.filename)
                found[file] = archive.read(one)
    return found


def packed(kit: Kit, members: Mapping[str, bytes], now: int) -> bytes:
    """Return the archive with these files. ``now`` (Unix seconds) is their time."""
    moment, stream = time.gmtime(now)[:6], io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in sorted(members):
            one = zipfile.ZipInfo(f"{kit.name}/{name}", moment)
            one.compress_type = zipfile.ZIP_DEFLATED
            one.external_attr = (stat.S_IFREG | (_MODE if name in contents.SECRET else 0o644)) << 16
            archive.writestr(one, members[name])
    return stream.getvalue()


def write(kit: Kit, archive: bytes) -> None:
    """Put an archive in place by one rename; the caller holds the lock of its directory. Raises OSError."""
    files.write_atomically(kit.path, archive, _MODE)
