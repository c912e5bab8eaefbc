# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What others wrote into the files of rules and maps stays byte for byte, whatever becomes of the managed block."""

from __future__ import annotations

import random

import pytest
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.server import proof
from ansible_collections.pgops.tls.tests.servers import HBA, Server

# The management line, and pieces as they are found in the wild; none lets connections without TLS in
MANAGEMENT = b"local all all trust"
LINES_OF_OTHERS = {
    "line ends of Windows": b"hostssl all report 10.0.0.0/8 scram-sha-256\r\n# more\r\n",
    "line ends of both kinds": b"hostssl all report 10.0.0.0/8 md5\r\n\nlocal all all md5\n\r\n",
    "no final line end": b"hostssl all report 10.0.0.0/8 scram-sha-256",
    "a final carriage return": b"hostssl all report 10.0.0.0/8 scram-sha-256\r",
    "a final backslash": b"# the end \\",
    "bytes that are no UTF-8": b'# caf\xe9 \xff\xfe\x80\nhostssl all "caf\xc3\xa9" all md5\n',
    "tabs, blanks and a page break": b"\t\n  \t hostssl\tall \t report\tall\tmd5\t\n# \x0c\n \n",
    "lines that go on": b"# one \\\n# two \\\n\n# three\\\r\n# four\n",
    "much at the end": b"hostssl all report all md5\n\n\n\n",
    "what looks like a mark": b"#BEGIN pgops.tls\n# BEGIN pgops.tls of old\n ## END pgops.tls\n",
    "a line separator of Unicode": "# a\u2028b\u0085c\x1d\n".encode(),
}


@pytest.mark.parametrize("piece", list(LINES_OF_OTHERS.values()), ids=list(LINES_OF_OTHERS))
def test_rules_and_maps_by_hand_stay_through_set_up_changes_and_removal(
    server: Server, monkeypatch: pytest.MonkeyPatch, piece: bytes
) -> None:
    by_hand = {
        "pg_hba.conf": MANAGEMENT + b"\n" + piece,
        "pg_ident.conf": b"people alice app\r\n" + piece.replace(b"hostssl", b"#"),
    }
    for name, content in by_hand.items():
        server.cluster.write(name, content.replace(b"local all all md5", b"#") if name == "pg_ident.conf" else content)
    before = {name: (server.cluster.data / name).read_bytes() for name in by_hand}
    server.settle(ident="more bob app\n")
    assert rest(server) == before
    server.converge(hba="hostssl all other all cert\n" + HBA, ident="more bob app\nmore carol app\n")
    assert rest(server) == before
    with monkeypatch.context() as patch:
        patch.setattr(proof.Prover, "rules", _refused)
        with pytest.raises(TlsError, match="The previous state is restored"):
            server.converge(hba="# another\n" + HBA)
    assert rest(server) == before
    server.converge(hba="", plaintext="allow")
    assert {name: (server.cluster.data / name).read_bytes() for name in by_hand} == before
    assert server.converge(hba="", plaintext="allow").changes == []


def test_a_block_that_somebody_moved_leaves_what_is_before_and_behind_it(managed: Server) -> None:
    path = managed.cluster.data / "pg_hba.conf"
    block, by_hand = split(path.read_bytes())
    before, behind = MANAGEMENT + b"\r\n# \xff\n", b"\t# behind\r\n" + by_hand.rstrip(b"\n")
    managed.cluster.write("pg_hba.conf", before + block + behind)
    managed.converge(hba="# changed\n" + HBA)
    assert split(path.read_bytes())[1] == before + behind
    managed.converge(hba="", plaintext="allow")
    assert path.read_bytes() == before + behind


def test_made_up_files_stay(managed: Server) -> None:
    dice, path = random.Random(4711), managed.cluster.data / "pg_hba.conf"  # noqa: S311
    for _number in range(5):
        words = [b"\r", b"\n", b"\r\n", b"\t", b" ", b"#", b'"', b"\\", b"\xe9", b"\xf0\x9f\x98\x80", b"x", b"\x0b"]
        comments = [b"# " + b"".join(dice.choices(words, k=40)).replace(b"\n", b"\n#") for _line in range(10)]
        by_hand = MANAGEMENT + b"\n" + b"\n".join(comments)
        managed.cluster.write("pg_hba.conf", by_hand)
        for hba in (HBA, "# other\n" + HBA):
            managed.converge(hba=hba)
            assert split(path.read_bytes())[1] == by_hand
        managed.converge(hba="", plaintext="allow")
        assert path.read_bytes() == by_hand


def rest(server: Server) -> dict[str, bytes]:
    """Return what is in the files of rules and maps outside the managed block."""
    return {name: split((server.cluster.data / name).read_bytes())[1] for name in ("pg_hba.conf", "pg_ident.conf")}


def split(content: bytes) -> tuple[bytes, bytes]:
    """Return the managed block, which heads a file, and the rest."""
    assert content.startswith(b"# BEGIN pgops.tls\n")
    end = content.index(b"\n# END pgops.tls\n") + len(b"\n# END pgops.tls\n")
    return content[:end], content[end:]


def _refused(*_arguments: object, **_options: object) -> None:
    raise TlsError("injected")
