"""A Python, with jobd and what it needs, that a user without any rights of ours can execute.

The daemon of a jobd of root's runs as another user, who may not be able to read where the tests are run from: root's
home, as a rule. Then copies are made, in a directory of the test's.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
CHECK = "import jobd.daemon, msgspec, trio, sqlite3, encodings.idna"


def python(directory: Path, uid: int) -> str:
    """The path of an interpreter that `uid` can run the daemon with; skips the test where there is none.

    Args:
        directory: where to make one, readable for all.
        uid: who is to run it.
    """
    if _works(sys.executable, uid):
        return sys.executable
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    home = next((place for place in ("/usr/bin", "/usr/local/bin") if _is_version(f"{place}/python3", version)), None)
    if home is None:
        pytest.skip(f"uid {uid} may not execute {sys.executable}, and there is no other Python {version}")
    venv = directory / "python"
    packages = venv / "lib" / f"python{version}" / "site-packages"
    (venv / "bin").mkdir(parents=True)
    (venv / "bin" / "python3").symlink_to(f"{home}/python3")
    (venv / "pyvenv.cfg").write_text(f"home = {home}\ninclude-system-site-packages = false\nversion = {version}\n")
    import msgspec

    shutil.copytree(Path(msgspec.__file__).parent.parent, packages, ignore=_unneeded)
    shutil.copytree(ROOT / "jobd", packages / "jobd", ignore=shutil.ignore_patterns("__pycache__"))
    made = str(venv / "bin" / "python3")
    if not _works(made, uid):
        pytest.skip(f"uid {uid} can execute neither {sys.executable} nor a copy of it")
    return made


def _unneeded(directory: str, names: list[str]) -> list[str]:
    """What of site-packages the daemon does not import: most of what the tests do."""
    needed = ("msgspec", "trio", "outcome", "attr", "sortedcontainers", "sniffio", "idna")
    if os.path.basename(directory) != "site-packages":
        return [name for name in names if name in ("__pycache__", "tests", "_tests")]
    return [name for name in names if not name.startswith(needed)]


def _works(executable: str, uid: int) -> bool:
    """Whether the user can import the daemon, with nothing of our rights."""
    try:
        command = [executable, "-I", "-c", CHECK]
        done = subprocess.run(command, user=uid, group=uid, extra_groups=[], cwd="/", capture_output=True, timeout=60)
    except PermissionError:
        return False
    return done.returncode == 0


def _is_version(executable: str, version: str) -> bool:
    try:
        found = subprocess.run([executable, "-V"], capture_output=True, text=True, timeout=60)
    except OSError:
        return False
    return found.stdout.startswith(f"Python {version}.")
