# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What decides where a path leads, whichever links are on the way."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.pgops.tls.plugins.module_utils.core import borrowed


def test_every_directory_and_link_is_on_the_way(tmp_path: Path) -> None:
    """Make it as certbot does: a link to a link, one of them relative."""
    for name in ("live", "archive", "other"):
        (tmp_path / name).mkdir()
    (tmp_path / "archive" / "key1").write_text("key")
    (tmp_path / "live" / "key").symlink_to("../other/key")
    (tmp_path / "other" / "key").symlink_to(tmp_path / "archive" / "." / "key1")
    found = list(borrowed.on_the_way(str(tmp_path / "live" / "key")))
    assert found[0] == "/"
    places = [str(tmp_path / one) for one in ("live", "live/key", "other", "other/key", "archive", "archive/key1")]
    assert [one for one in found if one in places] == places
    assert str(tmp_path) in found


def test_links_in_a_circle_end(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(OSError, match="Too many levels of symbolic links"):
        list(borrowed.on_the_way(str(tmp_path / "a")))
