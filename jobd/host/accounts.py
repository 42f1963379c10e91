"""Users and groups by name, from the name service. It may ask the network: never in a thread that others wait for."""

from __future__ import annotations

import grp
import pwd


class Accounts:
    """The lookups of `jobd.core.configfile`."""

    def uid(self, name: str) -> int | None:
        """Of a user's name; None when there is no such user."""
        try:
            return pwd.getpwnam(name).pw_uid
        except (KeyError, ValueError):  # an embedded NUL, or what cannot be encoded
            return None

    def gid(self, name: str) -> int | None:
        """Of a group's name; None when there is no such group."""
        try:
            return grp.getgrnam(name).gr_gid
        except (KeyError, ValueError):
            return None
