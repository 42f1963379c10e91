"""Whether a logout would end a user's own daemon, and the words that jobctl says about it, once.

systemd ends a user's manager, with everything below it, when his last session has ended, unless he lingers; and logind
ends what is left in a session's own scope where it is configured to (KillUserProcesses). The daemon looks when it
starts, from its own control group. If it would be ended it leaves a line in `logout-hint` in the state directory; the
next `jobctl run` at a terminal shows it, and moves it to `logout-hint.told`, after which it is not left again.
"""

from __future__ import annotations

import os
import pwd
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

HINT: Final = "logout-hint"
LINGER_DIR: Final = "/var/lib/systemd/linger"  # has a file for each user who lingers, by name
# logind.conf(5): the first of these main files that is there, then all drop-ins by name, the first directory's first.
CONF_DIRS: Final = ("/etc/systemd", "/run/systemd", "/usr/local/lib/systemd", "/usr/lib/systemd")
CONF: Final = "logind.conf"


def leave_hint(state_dir: Path) -> None:
    """See how it stands, and leave the hint or take it away. Reads files, and asks NSS: for a thread."""
    try:
        text = _look()
    except (OSError, KeyError, ValueError):  # no account, no /proc: nobody who logs out
        text = ""
    hint, told = state_dir / HINT, state_dir / f"{HINT}.told"
    with suppress(OSError):
        if not text:
            hint.unlink(missing_ok=True)
            told.unlink(missing_ok=True)
        elif not told.exists():
            hint.write_text(text + "\n")


def _look() -> str:
    uid = os.geteuid()
    place = where(Path("/proc/self/cgroup").read_text(), uid)
    if uid == 0 or not place:
        return ""
    user = pwd.getpwuid(uid).pw_name
    return words(place, user, lingers=os.path.exists(f"{LINGER_DIR}/{user}"), conf=logind_settings(_conf_texts()))


# --- pure -------------------------------------------------------------------------------------------------------
def where(cgroup: str, uid: int) -> str:
    """In whose hands we are: "manager" below the user's manager, "session" in a login's scope, "" in nobody's.

    Args:
        cgroup: the text of /proc/self/cgroup.
    """
    parts = {part for line in cgroup.splitlines() for part in line.split(":", 2)[-1].split("/")}
    if f"user@{uid}.service" in parts:
        return "manager"
    if any(part.startswith("session-") and part.endswith(".scope") for part in parts):
        return "session"
    return ""


def words(place: str, user: str, *, lingers: bool, conf: Mapping[str, str]) -> str:
    """What to say; "" if a logout ends nothing.

    Args:
        place: as of `where`.
        lingers: whether the user's manager goes on without him.
        conf: what logind is told, as of `logind_settings`.
    """
    if not place or (place == "manager" and lingers) or (place == "session" and not _kills(user, conf)):
        return ""
    text = "when you log out, your jobs are ended"
    if place == "session" and lingers:
        # The manager is there, and this daemon is not in its hands.
        return f"{text} (KillUserProcesses in logind.conf); started anew, after `jobctl shutdown`, jobd outlives that"
    again = "" if place == "manager" else ", followed by `jobctl shutdown`,"
    return f"{text}; `loginctl enable-linger`{again} lets them go on"


def _kills(user: str, conf: Mapping[str, str]) -> bool:
    if conf.get("KillUserProcesses", "yes").lower() not in ("yes", "true", "on", "1", "y", "t"):
        return False
    only = conf.get("KillOnlyUsers", "").split()
    return user not in conf.get("KillExcludeUsers", "root").split() and (not only or user in only)


def logind_settings(texts: Iterable[str]) -> dict[str, str]:
    """The settings of logind, from its files in the order in which they count.

    A line that is commented out says how logind was built, as systemd's own files do; what is set wins over it.
    """
    built: dict[str, str] = {}
    found: dict[str, str] = {}
    for text in texts:
        for line in text.splitlines():
            name, equals, value = line.strip().partition("=")
            if equals and name.startswith("#Kill"):
                built[name[1:].strip()] = value.strip()
            elif equals and not name.startswith(("#", ";")):
                found[name.strip()] = value.strip()
    return {**built, **found}


# --- its files --------------------------------------------------------------------------------------------------
def _conf_texts(directories: Sequence[str] = CONF_DIRS) -> list[str]:
    drop_ins: dict[str, str] = {}
    for directory in reversed(directories):
        with suppress(OSError):
            drop_ins |= {name: f"{directory}/{CONF}.d/{name}" for name in os.listdir(f"{directory}/{CONF}.d")}
    main = next((path for path in (f"{directory}/{CONF}" for directory in directories) if os.path.exists(path)), "")
    texts = []
    for path in (main, *(drop_ins[name] for name in sorted(drop_ins) if name.endswith(".conf"))):
        with suppress(OSError):
            texts.append(Path(path).read_text(errors="replace"))
    return texts
