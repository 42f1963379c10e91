"""Questions about blobs: definitions and environments, stored under the hash of their bytes."""

from __future__ import annotations

from jobd.core.spec import digest as digest_of

from .elements import Elements
from .usage import NAMES_BLOB


class Blobs(Elements):
    """A part of Reader."""

    def damage(self, text: str) -> bool:
        """Have the damaged file set aside. Returns whether asking again makes sense."""
        raise NotImplementedError

    def blob(self, digest: bytes) -> bytes | None:
        """The bytes that were stored under this hash. Others are damage: they would be another command."""
        for _ in range(2):
            found = self.fetch("SELECT data FROM blobs WHERE hash = ?", (digest,))
            data = found[0][0] if found else None
            if data is None or (isinstance(data, bytes) and digest_of(data) == digest):
                return data
            self.damage("a blob is not what its hash says")
        return None

    def has_blob(self, owner: int, digest: bytes) -> bool:
        """Whether a job or run of this owner names the blob."""
        return bool(self.fetch(f"SELECT {NAMES_BLOB}", (digest, owner))[0][0])
