# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What keeps everybody, even root, from replacing a file: a read-only file system, attributes, and a mounted file."""

from __future__ import annotations

import array
import contextlib
import fcntl
import os
from typing import Iterator, NamedTuple

from ansible_collections.pgops.tls.plugins.module_utils.core import files
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError

# FS_IOC_GETFLAGS of linux/fs.h. A few architectures have another number, and no file system takes this one there
_GET_ATTRIBUTES = 0x80086601
_ATTRIBUTES = {0x10: "i", 0x20: "a"}  # FS_IMMUTABLE_FL and FS_APPEND_FL, as lsattr shows them


class Obstacle(NamedTuple):
    """What was found, and what to do about it."""

    found: str
    remedy: str


def refuse(path: str) -> None:
    """Raise TlsError when a file or directory cannot be made or replaced at an absolute path, whoever tries it."""
    obstacle = next(_obstacles(os.path.realpath(path)), None)
    if obstacle is not None:
        raise TlsError(
            f"{path}: {obstacle.found}, so this cannot be written. Nothing was changed.",
            remedy=f"{obstacle.remedy}, then rerun.",
            code="path_not_replaceable",
        )


def _obstacles(path: str) -> Iterator[Obstacle]:
    existing = path
    while not os.path.lexists(existing):
        existing = os.path.dirname(existing)
    directory = existing if os.path.isdir(existing) else os.path.dirname(existing)
    if os.statvfs(directory).f_flag & os.ST_RDONLY:
        yield Obstacle(
            f"the file system of {directory} is mounted read-only",
            "Mount it writable, or choose a path on another file system",
        )
    for one in dict.fromkeys((existing, directory)):
        for letter in _attributes(one):
            what = "it" if one == path else one
            yield Obstacle(f"{what} has the attribute {letter} (lsattr -d shows it)", f"Run chattr -{letter} {one}")
    if existing != directory and existing in _mounts():
        yield Obstacle(
            "a single file is mounted here, which no other file can replace",
            f"Mount the directory {directory} instead of the file",
        )


def _attributes(path: str) -> list[str]:
    """Return those attributes of a file by which it cannot be replaced; none where that cannot be found out."""
    flags = array.array("i", [0, 0])  # the kernel writes an int, although the request has the size of a long
    with contextlib.suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        try:
            fcntl.ioctl(descriptor, _GET_ATTRIBUTES, flags)
        finally:
            os.close(descriptor)
    return [letter for flag, letter in _ATTRIBUTES.items() if flags[0] & flag]


def _mounts() -> list[str]:
    """Return the paths that something is mounted at, as far as this process sees them."""
    try:
        lines = os.fsdecode(files.read("/proc/self/mountinfo") or b"").splitlines()
    except OSError:
        return []
    return [_plain(fields[4]) for fields in (line.split(" ") for line in lines) if len(fields) > 4]


def _plain(escaped: str) -> str:
    """Return a path without the escapes of the kernel, which are octal numbers."""
    for number in (" ", "\t", "\n", "\\"):
        escaped = escaped.replace(f"\\{ord(number):03o}", number)
    return escaped
