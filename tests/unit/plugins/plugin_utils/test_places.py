# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.plugin_utils import places


@pytest.fixture
def top(tmp_path: Path) -> Path:
    """Make inventories of all kinds."""
    (tmp_path / "prod" / "dc1").mkdir(parents=True)
    for path in ("hosts.yml", "more.yml", "prod/hosts.yml", "prod/dc1/hosts.yml", "other/hosts.yml"):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).touch()
    (tmp_path / "script.py").touch(mode=0o755)
    (tmp_path / "link").symlink_to("prod")
    (tmp_path / "here").symlink_to(".")
    (tmp_path / "link.yml").symlink_to("other/hosts.yml")
    return tmp_path


def place(top: Path, inventory_dir: str | None, *sources: str, host: str = "localhost") -> places.Place:
    """Return the default place, for sources below ``top``."""
    given = [one if "," in one else str(top / one) for one in sources]
    return places.default("ca", "pki", None if inventory_dir is None else str(top / inventory_dir), given, host)


@pytest.mark.parametrize(
    ("inventory_dir", "sources", "expected"),
    [
        ("", ["hosts.yml"], "pki"),
        ("", ["script.py"], "pki"),
        ("", ["link.yml"], "pki"),
        ("", ["hosts.yml", "more.yml"], "pki"),
        ("", ["hosts.yml", "db9,"], "pki"),
        (None, ["db9,", "hosts.yml"], "pki"),
        ("prod", ["prod/hosts.yml"], "prod/pki"),
        ("prod", ["prod"], "prod-pki"),
        ("prod", ["prod/"], "prod-pki"),
        ("prod/dc1", ["prod"], "prod-pki"),
        ("link", ["link"], "link-pki"),
    ],
)
def test_a_directory_goes_beside_the_inventory(
    top: Path, inventory_dir: str | None, sources: list[str], expected: str
) -> None:
    assert place(top, inventory_dir, *sources) == places.Place(str(top / expected))


@pytest.mark.parametrize(
    ("inventory_dir", "sources", "why"),
    [
        (None, ["db9,"], r"the inventory \(db9,\) is no file or directory"),
        (None, ["/dev/null"], r"the inventory \(/dev/null\) is no file or directory"),
        ("", ["hosts.yml", "other/hosts.yml"], r"several inventories \(.*so it could be \S+/pki or \S+/other/pki"),
        ("prod", ["prod", "prod/dc1"], r"several inventories"),
        ("here", ["here"], r"/here-pki would lie inside the inventory \S+/here"),
        ("prod", ["prod/hosts.yml", "."], r"several inventories"),
    ],
)
def test_what_is_not_certain_is_refused_with_the_variable(
    top: Path, inventory_dir: str | None, sources: list[str], why: str
) -> None:
    with pytest.raises(TlsError, match=rf"^ca: not set, and .*{why}.* Set it, such as ca: /srv/pki\.$"):
        place(top, inventory_dir, *sources)


def test_another_host_has_no_default_but_is_told_the_one_of_before(top: Path) -> None:
    with pytest.raises(TlsError, match=rf"ca: not set, .* is on host ca1\..*until now it was {top}/pki: keep that"):
        place(top, "", "hosts.yml", host="ca1")


@pytest.mark.parametrize(
    ("before", "inventory_dir", "sources", "warning"),
    [
        ("prod/pki", "prod", ["prod"], "Move it: mv {before} {top}/prod-pki. The next run"),
        ("prod/dc1/pki", "prod/dc1", ["prod"], "Move it: mv {before} {top}/prod-pki. The next run"),
        ("pki", "", ["hosts.yml", "other/hosts.yml"], "stays in use, because it exists. Set ca: {before}."),
    ],
)
def test_what_is_in_the_place_of_before_stays_in_use(
    top: Path, before: str, inventory_dir: str, sources: list[str], warning: str
) -> None:
    (top / before).mkdir(parents=True)
    found = place(top, inventory_dir, *sources)
    assert found.path == str(top / before)
    assert warning.format(before=found.path, top=top) in found.warning
    (top / "prod-pki").mkdir()
    if inventory_dir:
        assert place(top, inventory_dir, *sources) == places.Place(str(top / "prod-pki")), "it was moved"


@pytest.mark.parametrize(
    ("path", "is_refused"),
    [
        ("prod/pki", True),
        ("link/pki", True),
        ("prod", False),
        ("prod/.pki", False),
        ("prod/group_vars/pki", False),
        ("production/pki", False),
        ("prod/there", False),
    ],
)
def test_a_new_directory_inside_the_inventory_is_refused(top: Path, path: str, is_refused: bool) -> None:
    (top / "prod" / "there").mkdir()
    if not is_refused:
        places.refuse_inside("ca", str(top / path), [str(top / "prod")])
        return
    with pytest.raises(
        TlsError, match=rf"^ca: \S+ would lie inside .*Expected a directory outside, such as {top}/prod-pki"
    ):
        places.refuse_inside("ca", str(top / path), [str(top / "prod")])
