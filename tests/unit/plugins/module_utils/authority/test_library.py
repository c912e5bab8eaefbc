from __future__ import annotations

import pytest
from ansible_collections.pgops.tls.plugins.module_utils.authority import library


@pytest.mark.parametrize("version", ["38.0.0", "38.0.4", "50.0.2", "100.0"])
def test_38_and_newer_are_usable(version: str) -> None:
    assert library.is_usable(version)


@pytest.mark.parametrize("version", ["", "3.4.8", "37.0.4", "unknown"])
def test_none_and_older_ones_are_not(version: str) -> None:
    assert not library.is_usable(version)


def test_the_message_names_the_version_found() -> None:
    assert "3.4.8" in library.shortcoming("3.4.8")
    assert "not installed" in library.shortcoming("")
