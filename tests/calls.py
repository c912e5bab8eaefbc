# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Calls of a module in this process, with the options as Ansible gives them."""

from __future__ import annotations

import importlib
import json
import signal
from collections.abc import Mapping
from types import FrameType
from typing import Any

import pytest

# A host that is managed has none; tests that call modules run where the controller is
basic = pytest.importorskip("ansible.module_utils.basic", reason="Ansible is not installed")
PATIENCE = 60  # seconds after which a module hangs


def called(module: str, capsys: pytest.CaptureFixture[str], options: Mapping[str, Any]) -> tuple[dict[str, Any], str]:
    """Return a module's result, and everything that it wrote. No option may be None."""
    with pytest.MonkeyPatch.context() as patch:
        # no syslog, which takes no NUL
        given = json.dumps({"ANSIBLE_MODULE_ARGS": {"_ansible_no_log": True, **options}}).encode()
        patch.setattr(basic, "_ANSIBLE_ARGS", given, raising=False)
        patch.setattr(basic, "_ANSIBLE_PROFILE", "legacy", raising=False)
        capsys.readouterr()
        name = f"ansible_collections.pgops.tls.plugins.modules.{module}"
        with _Alarm(), pytest.raises(SystemExit):
            importlib.import_module(name).main()
    written = capsys.readouterr()
    assert "Traceback" not in written.out + written.err
    result: dict[str, Any] = json.loads(written.out)
    return result, written.out


class _Alarm:
    """Ends what hangs with an exception."""

    def __enter__(self) -> None:
        signal.signal(signal.SIGALRM, self.ring)
        signal.alarm(PATIENCE)

    def __exit__(self, *_: object) -> None:
        signal.alarm(0)

    @staticmethod
    def ring(_number: int, _frame: FrameType | None) -> None:
        raise TimeoutError
