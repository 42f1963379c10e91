"""What to say when jobctl and the daemon are of different versions: which is the older one, and how to go on."""

from __future__ import annotations


def other_protocol(software: str, theirs: int, ours: int) -> str:
    """Why we cannot talk to a daemon of another protocol version.

    Args:
        software: the daemon's name and version.
        theirs, ours: the protocols.
    """
    what = f"cannot talk to {software}: it speaks version {theirs} of the protocol, this jobctl version {ours}"
    if theirs > ours:
        return f"{what}; use the jobctl that was installed with it"
    return f"{what}; SIGHUP has jobd start the daemon that is installed, and jobs run on"


def other_software(software: str) -> str:
    """What to add when a daemon does not understand us: "" if it is of our own version, or has not said which it is."""
    from jobd import __version__

    if software in ("", f"jobd {__version__}"):
        return ""
    return f"; {software} is not of this jobctl's version {__version__}: jobctl daemon-reexec starts what is installed"
