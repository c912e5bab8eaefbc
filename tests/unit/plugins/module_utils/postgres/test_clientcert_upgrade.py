# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import random

import pytest
from ansible_collections.pgops.tls.plugins.module_utils.postgres import hba_grammar
from ansible_collections.pgops.tls.plugins.module_utils.postgres.clientcert_upgrade import upgraded

REWRITTEN = {
    "hostssl all all all md5 clientcert=1\n": "hostssl all all all md5 clientcert=verify-ca\n",
    "hostssl all all all md5 clientcert=1": "hostssl all all all md5 clientcert=verify-ca",
    "hostssl a b 10.0.0.0 255.0.0.0 md5\tclientcert=1\r\n": (
        "hostssl a b 10.0.0.0 255.0.0.0 md5\tclientcert=verify-ca\r\n"
    ),
    'hostssl all all all md5 "clientcert=1" # ours\n': "hostssl all all all md5 clientcert=verify-ca # ours\n",
    'hostssl all all all ldap clientcert="1" ldapserver=x ldapprefix=y\n': (
        "hostssl all all all ldap clientcert=verify-ca ldapserver=x ldapprefix=y\n"
    ),
    "hostssl all all all md5 \t clientcert=0 # none\n": "hostssl all all all md5 # none\n",
    "hostssl all all all ldap clientcert=no-verify ldapserver=x ldapprefix=y\n": (
        "hostssl all all all ldap ldapserver=x ldapprefix=y\n"
    ),
    "hostssl all all all cert clientcert=1 map=x\n": "hostssl all all all cert map=x\n",
    "hostssl all all all cert map=x clientcert=verify-ca\n": "hostssl all all all cert map=x\n",
    "hostssl all all 10.1 255.0.0.0 cert map=x,clientcert=1\n": "hostssl all all 10.1 255.0.0.0 cert map=x,\n",
    "hostssl all all all ldap ldapserver=x,clientcert=1,ldapprefix=y\n": (
        "hostssl all all all ldap ldapserver=x,clientcert=verify-ca,ldapprefix=y\n"
    ),
    "hostssl all all all ldap ldapserver=x,clientcert=0 ldapprefix=y\n": (
        "hostssl all all all ldap ldapserver=x, ldapprefix=y\n"
    ),
    'hostssl "clientcert=1" all all md5 clientcert=1 # clientcert=1\n': (
        'hostssl "clientcert=1" all all md5 clientcert=verify-ca # clientcert=1\n'
    ),
}
UNCHANGED_LINES = [
    "hostssl all all all md5 clientcert=verify-ca\n",
    "hostssl all all all md5 clientcert=verify-full\n",
    "hostssl all all all cert clientcert=verify-full\n",
    "# hostssl all all all md5 clientcert=1\n",
    "host all all all md5 clientcert=1\n",
    "hostssl all all all md5 clientcert=2\n",
    "hostssl all all all md5 clientcert=10\n",
    "hostssl all clientcert=1 all md5\n",
    'hostssl all all all ldap ldapserver=x ldapbindpasswd="my clientcert=1"\n',
    "nonsense clientcert=1\n",
    "\n",
    "",
]


@pytest.mark.parametrize("major", [13, 15, 19])
@pytest.mark.parametrize("line", REWRITTEN)
def test_a_value_of_before_14_becomes_what_it_means(line: str, major: int) -> None:
    assert upgraded(line, major) == REWRITTEN[line]
    assert upgraded(REWRITTEN[line], major) == REWRITTEN[line]
    assert not hba_grammar.problems(REWRITTEN[line], 19) or "\\" in line


@pytest.mark.parametrize("line", UNCHANGED_LINES)
def test_everything_else_stays(line: str) -> None:
    assert upgraded(line, 13) == line


def test_lines_that_go_on_keep_their_shape() -> None:
    text = "hostssl all \\\n   all all md5 \\\n   clientcert=1  \\\n  # one\nhostssl all all all md5 clientcert=0\n"
    assert upgraded(text, 14) == (
        "hostssl all \\\n   all all md5 \\\n   clientcert=verify-ca  \\\n  # one\nhostssl all all all md5\n"
    )


def test_of_many_lines_only_these_change() -> None:
    moments = random.Random(20261121)  # noqa: S311 (no secret)
    lines = moments.choices([*REWRITTEN, *UNCHANGED_LINES], k=300)
    lines = [line if line.endswith("\n") else f"{line}\n" for line in lines if not line.endswith("\\\n")]
    expected = [REWRITTEN.get(line, REWRITTEN.get(line[:-1], line)) for line in lines]
    expected = [line if line.endswith("\n") else f"{line}\n" for line in expected]
    assert upgraded("".join(lines), 15) == "".join(expected)
