"""What the keeper is asked to execute."""

from __future__ import annotations

from jobd.runtime.spawning import with_login


def test_a_job_from_a_file_has_what_a_login_sets_unless_it_says_otherwise() -> None:
    ours = {b"HOME": b"/home/alice", b"USER": b"alice", b"PATH": b"/opt/bin:/bin", b"SECRET": b"x"}
    assert with_login([b"PORT=1", b"USER=web"], ours) == [
        b"PORT=1", b"USER=web", b"PATH=/opt/bin:/bin", b"HOME=/home/alice",
    ]  # fmt: skip
    assert with_login([], {}) == [b"PATH=/usr/local/bin:/usr/bin:/bin"]
    assert with_login([b"PATH="], {}) == [b"PATH="]
