"""Rules that are taken back end what is being read by them, and bar what comes; no restart is needed for either."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from jobd.core.ids import new_run_id
from jobd.wire import codec, errors
from jobd.wire import messages as m
from tests.system.callers import SAME_ID, CallerAs
from tests.system.people import ALICE, BOB, ROOT, People, many_users, why_not
from tests.system.program import Gate

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(why_not()), reason=why_not() or "-")]
I = SAME_ID  # noqa: E741  # an id
RULES = f"""
[[allow]]
users = ["{BOB}"]
actions = ["@read", "attach"]
owners = ["{ALICE}"]
"""


@pytest.fixture
def people() -> Iterator[People]:
    with many_users(RULES) as made:
        yield made


def until_end(caller: CallerAs) -> list[m.FromDaemon]:
    """What comes up to the end of the answer."""
    found = [codec.decode_daemon(caller.receive())]
    while not isinstance(found[-1], m.End | m.Fault):
        found.append(codec.decode_daemon(caller.receive()))
    return found


def test_what_is_being_read_ends_with_the_rule(people: People) -> None:
    gate = Gate(people.place / "gate")
    gate.path.chmod(0o666)
    run = new_run_id()
    alice, root = CallerAs(people.socket, ALICE), CallerAs(people.socket, ROOT)
    readers = {name: CallerAs(people.socket, BOB) for name in ("logs", "wait", "events", "attach")}
    try:
        script = f"echo before; {gate.wait}; echo after".encode()
        alice.body(m.Run(id=I, run=run, argv=[script], env=[], cwd=b"/", shell=True, name="web", stdin="pipe"))
        asked: dict[str, m.Request] = {
            "logs": m.Logs(id=I, jobs=[f"{ALICE}/web"], follow=True),
            "wait": m.Wait(id=I, runs=[run]),
            "events": m.Events(id=I, jobs=[f"{ALICE}/web"], follow=True),
            "attach": m.Attach(id=I, run=run, input=True),
        }
        for name, reader in readers.items():
            reader.sock.sendall(codec.encode(asked[name]))
        until_before = b""
        while b"before" not in until_before:
            until_before = readers["logs"].receive()
        while not isinstance(codec.decode_daemon(readers["events"].receive()).body, m.Reached):  # type: ignore[union-attr]  # items
            pass
        assert isinstance(codec.decode_daemon(readers["attach"].receive()), m.Item)
        people.toml.write_text("")
        assert isinstance(root.body(m.DaemonReload(id=I)), m.Plan)
        gate.open()
        alice.ask(m.Wait(id=I, runs=[run]))
        for name in ("logs", "wait", "events"):
            *items, fault = until_end(readers[name])
            assert isinstance(fault, m.Fault), (name, fault)
            assert fault.code == errors.NOT_FOUND
            assert fault.details["job"] == f"{ALICE}/web"
            assert b"after" not in b"".join(map(codec.encode, items))
            bodies = [item.body for item in items if isinstance(item, m.Item)]
            assert not any(isinstance(body, m.Ended) for body in bodies)
            assert {"exited", "finished", "closed"}.isdisjoint(b.kind for b in bodies if isinstance(b, m.Change))
        bob = CallerAs(people.socket, BOB)
        assert bob.fault(m.Logs(id=I, jobs=[f"{ALICE}/web"])).message == f"cannot find job '{ALICE}/web'"
        bob.close()
    finally:
        for caller in (alice, root, *readers.values()):
            caller.close()


def test_a_file_that_breaks_takes_nothing_back_and_gives_nothing(people: People) -> None:
    alice, bob, root = (CallerAs(people.socket, uid) for uid in (ALICE, BOB, ROOT))
    try:
        run = new_run_id()
        alice.body(m.Run(id=I, run=run, argv=[b"true"], env=[], cwd=b"/", name="web"))
        alice.ask(m.Wait(id=I, runs=[run]))
        people.toml.write_text("[[allow]]\nusers = ['*']\nactions = ['@everything']\n")
        fault = root.fault(m.DaemonReload(id=I))
        assert fault.code == errors.BAD_SETTING
        assert bob.body(m.Resolve(id=I, job=f"{ALICE}/web"))
        assert bob.fault(m.Stop(id=I, names=[f"{ALICE}/web"], runs=[run, run])).code == errors.INVALID
        (done, _) = bob.ask(m.Stop(id=I, names=[f"{ALICE}/web"]))
        assert isinstance(done, m.Item)
        assert isinstance(done.body, m.Done)
        assert done.body.code == errors.DENIED
        seen = bob.body(m.AuthRules(id=I))
        assert isinstance(seen, m.Rules)
        assert (len(seen.rules), seen.error) == (1, "")
        told = root.body(m.AuthRules(id=I))
        assert isinstance(told, m.Rules)
        assert "@everything" in told.error
    finally:
        for caller in (alice, bob, root):
            caller.close()
