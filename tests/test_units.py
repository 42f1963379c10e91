"""What `make install-system` puts in place besides programs: the units agree with each other, the example is valid."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from jobd.core import configfile
from jobd.core.paths import system_paths

ROOT = Path(__file__).resolve().parent.parent
UNITS = ROOT / "systemd"
INSTALL = ROOT / "scripts" / "install-system"


class Everybody:
    """An account for every name."""

    def uid(self, _: str) -> int:
        return 1000

    def gid(self, _: str) -> int:
        return 1000


def unit(name: str) -> dict[str, str]:
    """The settings of a unit."""
    lines = (UNITS / name).read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if re.match(r"\w+=", line))


def test_the_example_of_a_configuration_is_one_when_its_comments_are_taken_away() -> None:
    text = (UNITS / "jobd.toml.example").read_text()
    assert configfile.parse(text, "jobd.toml", Everybody()).allow == ()
    keys = re.sub(r"^# (?=\[|\w+ = )", "", text, flags=re.MULTILINE)
    policy = configfile.parse(keys, "jobd.toml", Everybody())
    assert len(policy.allow) == 2
    assert policy.limits.running == 200


def test_the_users_unit_lives_by_the_same_rules() -> None:
    system, user = unit("jobd.service"), unit("jobd-user.service")
    own = {"Description", "ExecStart", "ExecReload", "WantedBy"}
    assert {key: value for key, value in user.items() if key not in own}.items() <= system.items()
    assert {key: value.replace("--user", "--system") for key, value in user.items() if key == "ExecReload"} == {
        "ExecReload": system["ExecReload"]
    }


def test_the_socket_is_where_clients_look() -> None:
    paths = system_paths()
    assert unit("jobd.socket")["ListenStream"] == paths.socket
    assert unit("jobd.service")["RequiresMountsFor"] == paths.state_dir
    made = (UNITS / "tmpfiles.d" / "jobd.conf").read_text()
    assert f"d {paths.config_dir} " in made.replace("      ", " ")


def test_every_file_is_installed() -> None:
    script = INSTALL.read_text()
    files = [path.relative_to(ROOT) for path in UNITS.rglob("*") if path.is_file()]
    assert [str(path) for path in files if str(path) not in script] == []


def test_the_script_is_a_good_one() -> None:
    if not shutil.which("shellcheck"):
        pytest.skip("shellcheck is not installed (make tools)")
    done = subprocess.run(["shellcheck", "--norc", INSTALL], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")
