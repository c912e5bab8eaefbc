"""The collection as its users have it: built, installed far away from any checkout, and run from there."""

from __future__ import annotations

import json
import os
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from ansible_collections.pgops.tls.plugins.module_utils.authority import library

ROOT = Path(__file__).resolve().parents[2]
Run = Callable[..., str]
CONTENT = {
    "CHANGELOG.md", "FILES.json", "LICENSE", "MANIFEST.json", "README.md",
    "changelogs", "docs", "meta", "playbooks", "plugins", "roles",
}  # fmt: skip


@pytest.fixture(scope="module")
def artifact(run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the artifact from the checkout as it lies there, with all that was made in it."""
    folder = tmp_path_factory.mktemp("artifact")
    run("ansible-galaxy", "collection", "build", "--output-path", folder)
    (built,) = folder.glob("pgops-tls-*.tar.gz")
    return built


@dataclass
class User:
    """Somebody who has installed the artifact in ``folder``, and nothing else."""

    folder: Path
    run: Run

    def ansible(self, program: str, *arguments: object) -> str:
        """Return what one of Ansible's programs printed."""
        return self.run(
            f"ansible-{program}",
            *arguments,
            cwd=self.folder,
            ANSIBLE_COLLECTIONS_PATH=self.folder,
            ANSIBLE_HOME=self.folder / "home",
            ANSIBLE_INJECT_FACT_VARS="false",  # as later versions of Ansible will have it
            ANSIBLE_NOCOLOR="1",
        )


@pytest.fixture(scope="module")
def user(artifact: Path, run: Run, tmp_path_factory: pytest.TempPathFactory) -> User:
    """Install the artifact."""
    found = User(tmp_path_factory.mktemp("user"), run)
    found.ansible("galaxy", "collection", "install", "--offline", "--collections-path", found.folder, artifact)
    return found


@pytest.fixture(scope="module", params=["bullseye", "bookworm"])  # the oldest Python on a managed host, and a usual one
def host(request: pytest.FixtureRequest, user: User, run: Run) -> Iterator[Callable[..., str]]:
    """Start a host with a PostgreSQL server and an OS user ``web``, list it in inventory.json, give commands to it."""
    name, key = f"{os.environ['TEST_PREFIX']}-artifact-{request.param}", user.folder / f"key-{request.param}"
    run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key)
    image = json.loads(os.environ["TEST_IMAGES"])[request.param]
    volume = f"--volume={key}.pub:/etc/ssh/test_keys:ro"
    options = ["--pull=never", "--systemd=always", "--network=none", "--no-hosts", "--security-opt=label=disable"]
    run("podman", "run", "--detach", "--replace", f"--name={name}", volume, *options, image)

    def inside(*argv: str, account: str = "root") -> str:
        return run("podman", "exec", f"--user={account}", name, *argv)

    try:
        inside("timeout", "90", "sh", "-c", "until systemctl -q is-system-running 2>&-; do sleep 0.2; done")
        inside("psql", "-Xc", "CREATE ROLE app LOGIN", account="postgres")
        inside("useradd", "--create-home", "web")
        inventory(user.folder / "inventory.json", name, key)
        yield inside
    finally:
        run("podman", "rm", "--force", "--time=0", "--volumes", name)


def inventory(path: Path, container: str, key: Path) -> None:
    """Write an inventory of one host, which is server and client."""
    ssh = "-o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR"
    host = {
        "ansible_host": container,
        "ansible_user": "ops",
        "ansible_python_interpreter": "/usr/bin/python3",
        "ansible_ssh_private_key_file": str(key),
        "ansible_ssh_common_args": f'{ssh} -o ProxyCommand="podman exec -i %h /usr/sbin/sshd -i"',
        "postgres_server_names": ["localhost"],
        "postgres_client_identities": [{"role": "app", "os_user": "web"}],
    }
    groups = {"postgres_servers": {"hosts": {"db1": host}}, "postgres_clients": {"hosts": {"db1": {}}}}
    path.write_text(json.dumps({"all": {"children": groups}}), encoding="utf-8")


def test_the_artifact_has_what_users_need_and_nothing_else(artifact: Path) -> None:
    with tarfile.open(artifact) as archive:
        names = archive.getnames()
    assert {name.split("/")[0] for name in names} == CONTENT
    assert not [name for name in names if "__pycache__" in name or name.endswith(".pyc")]


@pytest.mark.parametrize("kind", ["module", "filter"])
def test_every_plugin_has_documentation_that_ansible_doc_shows(user: User, kind: str) -> None:
    folder = {"module": "modules"}.get(kind, kind)
    names = {f"pgops.tls.{path.stem}" for path in (ROOT / "plugins" / folder).glob("*.py")}
    assert set(json.loads(user.ansible("doc", "--type", kind, "--list", "--json", "pgops.tls"))) == names
    shown = json.loads(user.ansible("doc", "--type", kind, "--json", *sorted(names)))
    assert {name for name in names if shown[name]["doc"]["description"] and shown[name]["examples"]} == names


def test_every_role_has_documentation_that_ansible_doc_shows(user: User) -> None:
    roles = {f"pgops.tls.{path.name}" for path in (ROOT / "roles").iterdir()}
    shown = json.loads(user.ansible("doc", "--type", "role", "--json", *sorted(roles)))
    assert {name for name in roles if shown[name]["entry_points"]["main"]["description"]} == roles


def test_an_execution_environment_gets_what_the_controller_needs(user: User, run: Run) -> None:
    told = yaml.safe_load(run("ansible-builder", "introspect", user.folder))
    assert {kind: [line.split("  #")[0] for line in lines] for kind, lines in told.items()} == {
        "python": [library.REQUIREMENT.replace(" ", "")],
        "system": ["openssh-client [platform:dpkg]", "openssh-clients [platform:rpm]", "openssl"],
    }


def test_the_installed_playbook_does_the_whole_job_and_warns_of_what_is_new_alone(
    user: User, host: Callable[..., str]
) -> None:
    first = user.ansible("playbook", "--inventory=inventory.json", "pgops.tls.site")
    again = user.ansible("playbook", "--inventory=inventory.json", "--check", "--diff", "pgops.tls.site")
    assert "changed=0" not in first
    assert "changed=0" in again
    assert first.count("WARNING") == 2, first
    assert "These defaults count, because the inventory does not set the variables" in " ".join(first.split())
    assert "gets files at libpq's default names, for the first time" in " ".join(first.split())
    assert "WARNING" not in again, again
    target = "host=localhost user=app dbname=postgres sslmode=verify-full"
    assert host("runuser", "-l", "web", "-c", f"psql -XAt '{target}' -c 'SELECT current_user'") == "app\n"
