from __future__ import annotations

import uuid

from hypothesis import given
from hypothesis import strategies as st

from jobd.core.ids import new_run_id, uuid7


@given(st.integers(0, (1 << 48) * 10**6 - 1), st.binary(min_size=8, max_size=8))
def test_is_a_uuid_of_version_7(now_ns: int, rand: bytes) -> None:
    made = uuid.UUID(bytes=uuid7(now_ns, rand))
    assert (made.version, made.variant) == (7, uuid.RFC_4122)
    assert made.int >> 80 == now_ns // 10**6


@given(st.integers(0, 10**18), st.integers(1000, 10**12))
def test_later_sorts_after(now_ns: int, later: int) -> None:
    assert uuid7(now_ns, b"\xff" * 8) < uuid7(now_ns + later, bytes(8))


def test_new_ones_differ() -> None:
    assert len({new_run_id() for _ in range(1000)}) == 1000
