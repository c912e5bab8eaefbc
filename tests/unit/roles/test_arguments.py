"""What a role declares, what it defaults to and what it tells its readers are the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.pgops.tls.tests.shared import ROLE_FOLDERS


@pytest.fixture(params=ROLE_FOLDERS, ids=lambda role: role.name)
def role(request: pytest.FixtureRequest) -> Path:
    """Give one role after the other."""
    return Path(request.param)


def defaults(role: Path) -> dict[str, Any]:
    """Return the variables of a role with their defaults."""
    return dict(yaml.safe_load((role / "defaults" / "main.yml").read_text(encoding="utf-8")))


def options(role: Path) -> dict[str, dict[str, Any]]:
    """Return the variables of a role as its argument specification describes them."""
    specification = yaml.safe_load((role / "meta" / "argument_specs.yml").read_text(encoding="utf-8"))
    return dict(specification["argument_specs"]["main"]["options"])


def test_defaults_and_argument_specification_have_the_same_variables(role: Path) -> None:
    assert sorted(defaults(role)) == sorted(options(role))


def test_defaults_and_argument_specification_have_the_same_values(role: Path) -> None:
    described = options(role)
    for name, value in defaults(role).items():
        is_internal = "{{ __" in str(value)  # computed by what users do not see: there it is described in words
        assert described[name].get("default") == (None if is_internal else value), name


def test_variables_begin_with_the_name_of_their_role(role: Path) -> None:
    assert [name for name in defaults(role) if not name.startswith(f"{role.name}_")] == []


def test_every_variable_is_in_the_readme_of_the_role(role: Path) -> None:
    text = (role / "README.md").read_text(encoding="utf-8")
    assert [name for name in defaults(role) if f"`{name}`" not in text] == []
