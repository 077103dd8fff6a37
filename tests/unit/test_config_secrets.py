"""Secrets: where they may be, who may read them, and what is said when they cannot be had."""

from __future__ import annotations

from pathlib import Path

import pytest

from config.errors import ConfigError
from config.load import load
from config.model import SystemConfig
from config.secrets import SecretError, read_secret

CUSTOMER = """
[customer]
match = [["name"]]
[customer.crm]
table = "c"
[customer.erp]
table = "e"
[customer.fields]
name = { crm = "n", erp = "n" }
"""


def crm(folder: Path, password: str, environ: dict[str, str] | None = None) -> SystemConfig:
    """The crm of a configuration with this password."""
    (folder / "entities").mkdir()
    (folder / "entities" / "customer.toml").write_text(CUSTOMER)
    (folder / "accord.toml").write_text(
        f'[agent]\nname = "a"\n[systems.crm]\nurl = "mysql://a@h/d"\n{password}\n[systems.erp]\nurl = "sqlite:e.db"\n'
    )
    return load(folder, environ or {}, folder).systems["crm"]


def secret_file(folder: Path, content: str | bytes, mode: int = 0o600) -> Path:
    path = folder / "crm secret"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    path.chmod(mode)
    return path


@pytest.mark.parametrize(
    ("content", "secret"),
    [("hunter2", "hunter2"), ("hunter2\n", "hunter2"), ("hunter2\r\n", "hunter2"), (" a b \n\n", " a b \n")],
)
def test_a_file_holds_a_secret_and_an_end_of_line(tmp_path: Path, content: str, secret: str) -> None:
    secret_file(tmp_path, content)
    assert crm(tmp_path, 'password = "file:crm secret"').secret() == secret


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o644, 0o601])
def test_a_file_that_others_may_open_is_refused_with_the_line_to_run(tmp_path: Path, mode: int) -> None:
    path = secret_file(tmp_path, "hunter2", mode)
    system = crm(tmp_path, f'password = "file:{path}"')
    with pytest.raises(ConfigError) as e:
        system.secret()
    problem = e.value.problem
    assert problem.hint == f"Run: chmod 600 '{path}'"
    assert (problem.file, problem.line, problem.system) == ("accord.toml", 5, "crm")
    assert f"mode 0{mode:o}" in problem.message and "hunter2" not in str(problem)


def test_a_secret_is_read_when_it_is_asked_for_and_not_before(tmp_path: Path) -> None:
    system = crm(tmp_path, 'password = "file:crm secret"')
    with pytest.raises(ConfigError, match="no such file"):
        system.secret()
    secret_file(tmp_path, "late")
    assert system.secret() == "late"


@pytest.mark.parametrize(("content", "said"), [("", "is empty"), ("\n", "is empty"), (b"\xff\xfe", "not UTF-8")])
def test_a_file_without_a_secret_is_refused(tmp_path: Path, content: str | bytes, said: str) -> None:
    secret_file(tmp_path, content)
    with pytest.raises(SecretError, match=said):
        read_secret("file:crm secret", tmp_path, {})


def test_a_folder_is_no_secret(tmp_path: Path) -> None:
    with pytest.raises(SecretError, match="is a directory"):
        read_secret("file:.", tmp_path, {})


def test_a_secret_in_the_environment(tmp_path: Path) -> None:
    assert crm(tmp_path, 'password = "env:CRM_PASSWORD"', {"CRM_PASSWORD": "x y"}).secret() == "x y"
    with pytest.raises(SecretError, match="OTHER is not set"):
        read_secret("env:OTHER", tmp_path, {})
    with pytest.raises(SecretError, match="OTHER is empty"):
        read_secret("env:OTHER", tmp_path, {"OTHER": ""})


def test_a_credential_of_the_service_manager(tmp_path: Path) -> None:
    (tmp_path / "crm").write_text("from systemd\n")
    (tmp_path / "crm").chmod(0o440)  # how it is kept is not the operator's choice
    assert read_secret("credential:crm", Path("/"), {"CREDENTIALS_DIRECTORY": str(tmp_path)}) == "from systemd"
    with pytest.raises(SecretError, match="CREDENTIALS_DIRECTORY is not set") as e:
        read_secret("credential:crm", tmp_path, {})
    assert "LoadCredential=crm:" in e.value.hint
    with pytest.raises(SecretError, match="no such file"):
        read_secret("credential:erp", Path("/"), {"CREDENTIALS_DIRECTORY": str(tmp_path)})


def test_no_password_is_no_secret(tmp_path: Path) -> None:
    assert crm(tmp_path, "").secret() is None


@pytest.mark.parametrize("written", ["hunter2", "hunter2:x", "credential:../hunter2", "env:hunter2 x", "file:"])
def test_a_literal_password_is_refused_and_not_repeated(tmp_path: Path, written: str) -> None:
    with pytest.raises(ConfigError) as e:
        crm(tmp_path, f'password = "{written}"')
    assert len(e.value.problems) == 1
    assert "systems.crm.password" in str(e.value) and "hunter2" not in str(e.value)


def test_secrets_of_the_environment_are_not_shown_with_a_system(tmp_path: Path) -> None:
    assert "hunter2" not in repr(crm(tmp_path, 'password = "env:P"', {"P": "hunter2"}))
