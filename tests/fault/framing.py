"""F6: frames that nobody should send, to the decoders in this process (decoding.py), and to a daemon by eight clients.

Over the socket the frames come whole, in halves, a byte at a time, with a length that lies, before the hello and behind
it. After a few of them follows a plain question on the same connection: it is answered, or the connection was ended
with a reason.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import time
from collections import Counter
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple

from jobd.core.ids import new_run_id
from jobd.wire import codec, errors, frames
from jobd.wire import messages as m
from tests.fault.decoding import SENT, read_all
from tests.fault.mutations import Mutator
from tests.fault.probing import LIVE_SEC, Asked, Probe, pids, settle
from tests.fault.report import Problem, Report, details, tally
from tests.system.crowd import ALICE, BOB, CAROL, User, for_everybody
from tests.system.program import memory_of
from tests.system.raw import Raw
from tests.wire.example_views import OTHER, RUN
from tests.wire.examples import CLIENT

if TYPE_CHECKING:
    from pathlib import Path

    from tests.system.program import Program

CLIENTS: Final = 8
IN_PROCESS: Final = 10  # bodies in this process for each frame over the socket
WARM: Final = 5  # a fifth of the frames comes before memory is measured: pools, caches, the first jobs
MOST_GROWTH_BYTES: Final = 20 << 20  # security.md, C.5
MOST_STALL_SEC: Final = 0.1  # the same, of p99.9
ENOUGH: Final = 1000  # questions, without which nobody knows a p99.9
ANSWER_SEC: Final = 20.0  # for a plain question on a connection that had odd ones before
KINDS: Final = (
    "decoder exceptions", "internal errors", "log errors", "bad answers", "unanswered", "deaths", "growth", "stalls",
    "probe errors",
)  # fmt: skip
BROUGHT: Final = "brought"  # among the answers' codes: how many frames there were
DEADLY: Final = (m.Shutdown, m.DaemonReexec)  # who is not root is refused; in a test of a user's own jobd he is not


# --- over the socket ------------------------------------------------------------------------------------------------
class Ended(Exception):  # noqa: N818  # an event
    """The daemon has ended the connection, and may: something before was malformed."""


class Hostile:
    """One connection that brings odd frames; what comes back is looked at."""

    def __init__(self, path: str, seen: Counter[str], found: list[list[str]]) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(ANSWER_SEC)
        self.sock.connect(path)
        self._buffer = frames.FrameBuffer()
        self._seen, self._found = seen, found
        self._sent: list[bytes] = []

    def push(self, data: bytes) -> None:
        """Send all of it, and read meanwhile: nobody is to wait for us. Raises Ended."""
        view = memoryview(data)
        end = time.monotonic() + ANSWER_SEC
        while view:
            readable, writable, _ = select.select([self.sock], [self.sock], [], end - time.monotonic())
            if readable:
                self._read(0)
            if writable:
                try:
                    view = view[self.sock.send(view, socket.MSG_DONTWAIT) :]
                except BlockingIOError:
                    continue
                except OSError as e:
                    raise Ended from e
            if not readable and not writable:
                self._found.append(["unanswered", "the daemon reads no more", self._last()])
                raise Ended

    def bring(self, body: bytes, manner: int) -> None:
        """Send a body, in one of several manners."""
        self._sent.append(body)
        frame = frames.pack(body)
        if manner == 0 and len(frame) < 200:
            for byte in frame:
                self.push(bytes((byte,)))
        elif manner == 1:
            self.push(frame[: len(frame) // 2])
            self.push(frame[len(frame) // 2 :])
        else:
            self.push(frame)

    def ask(self, number: int) -> None:
        """A plain question: whoever asks it has an answer, or knows why there is none. Raises Ended."""
        self.push(codec.encode(m.AuthWhoami(id=number)))
        end = time.monotonic() + ANSWER_SEC
        while time.monotonic() < end:
            if number in self._read(end - time.monotonic()):
                return
        self._found.append(["unanswered", f"no answer in {ANSWER_SEC:g} s", self._last()])
        raise Ended

    def _read(self, timeout_sec: float) -> list[int | None]:
        """Take what comes; the requests that were answered. Raises Ended."""
        if not select.select([self.sock], [], [], max(0.0, timeout_sec))[0]:
            return []
        try:
            data = self.sock.recv(1 << 16)
        except OSError as e:
            raise Ended from e
        if not data:
            raise Ended
        self._buffer.feed(data)
        answered = []
        while (body := self._buffer.next()) is not None:
            answered.append(self._take(body))
        return answered

    def _take(self, body: frames.Body) -> int | None:
        try:
            message = codec.decode_daemon(body)
        except codec.ProtocolError as e:
            self._found.append(["bad answers", str(e), self._last()])
            raise Ended from e
        code, text = "answers", ""
        if isinstance(message, m.Fault):
            code, text = message.code, message.message
        elif isinstance(message, m.Item) and isinstance(message.body, m.Done) and message.body.code:
            code, text = message.body.code, message.body.text
        self._seen[code] += 1
        if code not in ("answers", *errors.CODES):
            self._found.append(["bad answers", f"code {code!r}", self._last()])
        if code == errors.INTERNAL:
            self._found.append(["internal errors", text, self._last()])
        return getattr(message, "id", None)

    def _last(self) -> str:
        return " ".join(body[:150].hex() for body in self._sent[-4:])


def is_safe(message: m.FromClient) -> bool:
    """Whether this may be sent: what ends the daemon as it should is not an attack, nor is a command of the dice's."""
    return not isinstance(message, DEADLY) and not (isinstance(message, m.Run) and message.argv[0] != b"true")


def chosen(mutator: Mutator) -> bytes:
    """The next body. One in eight ends its connection; the rest are read, or there would be little behind them."""
    dice = mutator.dice
    may_end = dice.random() < 0.125
    while True:
        body = mutator.body() if may_end else mutator.odd()
        if dice.random() < 0.5:
            body = body.replace(RUN, new_run_id()).replace(OTHER, new_run_id())
        try:
            if is_safe(codec.decode_client(body)):
                return body
        except codec.ProtocolError as e:
            if may_end or e.id is not None:
                return body


def sent_by(uid: int, mark: str) -> list[bytes]:
    """What a client would send who has two jobs: the samples that the dice change."""
    env = [b"JOBD_TEST_MARK=" + mark.encode(), b"PATH=/usr/bin:/bin"]
    shown: dict[str, m.FromClient] = {
        **CLIENT,
        "run": m.Run(id=1, run=RUN, argv=[b"true"], env=env, cwd=b"/", name="web", settings={"stop.timeout": "5s"}),
        "run-shell": m.Run(id=2, run=RUN, argv=[b"true"], env=env, cwd=b"/", shell=True, stdin="pipe"),
        "run-later": m.Run(id=2, run=RUN, argv=[b"true"], env=env, cwd=b"/", delay_usec=600_000_000, name="later"),
        "run-array": m.Run(id=2, run=RUN, argv=[b"true"], env=env, cwd=b"/", array="0-3%2", after=["web:any"]),
        "define": m.Define(id=30, name="made", text='command = "true"', base=b"/srv", replace=True),
        "owned": m.Get(id=7, names=[f"{uid}/web"]),
        "logs": m.Logs(id=11, jobs=["web"], run="-1", lines=20),
        "follow": m.Logs(id=12, jobs=["live"], follow=True),
        "cursors": m.ListTimers(id=48, patterns=[], after="7 1000/backup"),
    }
    return [codec.encode(message)[frames.HEADER :] for message in shown.values()]


def make_jobs(raw: Raw, mark: str) -> None:
    """Two jobs, one of which has ended."""
    env = {b"JOBD_TEST_MARK": mark.encode(), b"PATH": b"/usr/bin:/bin"}
    raw.run([b"sh", b"-c", b"seq 3000"], name="web", env=env)
    raw.run([b"sleep", b"600"], name="live", env=env)


def attack(path: str, mark: str, count: int, seed: str) -> list[object]:
    """Bring so many odd frames; the answers by their code, and [kind, text, what was sent last] of what is wrong."""
    signal.alarm(LIVE_SEC)
    mutator = Mutator(seed, sent_by(os.getuid(), mark))
    dice = mutator.dice
    seen: Counter[str] = Counter()
    found: list[list[str]] = []
    with Raw(path) as raw:
        make_jobs(raw, mark)
    brought = 0
    while brought < count:
        hostile = Hostile(path, seen, found)
        try:
            if dice.random() < 0.1:
                hostile.bring(mutator.damaged(SENT[0]), dice.randrange(4))
            hostile.push(codec.encode(m.Hello(version=m.PROTOCOL_VERSION, software="hostile 0")))
            while brought < count:
                for _ in range(dice.randint(1, 12)):
                    brought += 1
                    hostile.bring(chosen(mutator), dice.randrange(8))
                hostile.ask(dice.randrange(1 << 40, 1 << 50))
                if dice.random() < 0.03:
                    hostile.push(frames.header(dice.randrange(frames.MAX)) + b"\x81")  # and never the rest
                    break
        except Ended:
            seen["ended"] += 1
        finally:
            hostile.sock.close()
    seen[BROUGHT] += brought
    return [seen, found]


# --- the campaign ---------------------------------------------------------------------------------------------------
class Seen(NamedTuple):
    """What the socket part of a campaign has seen."""

    found: list[list[str]]  # [kind, text, what was sent last]
    log: str
    pids: tuple[list[int], list[int]]  # daemon and keeper, before and after
    resident: tuple[int, int]  # bytes of the daemon, when it was warm and at the end
    asked: Asked


def judge(seen: Seen) -> list[Problem]:
    """What is wrong with that."""
    problems = [Problem(kind, text, f"after {sent}") for kind, text, sent in seen.found]
    wrong = [line for line in seen.log.splitlines() if "Traceback" in line or ": error: " in line]
    problems += [Problem("log errors", "log", line) for line in dict.fromkeys(wrong)]
    if seen.pids[0] != seen.pids[1]:
        problems.append(Problem("deaths", "daemon, keeper", f"were {seen.pids[0]}, are {seen.pids[1]}"))
    growth = seen.resident[1] - seen.resident[0]
    if growth > MOST_GROWTH_BYTES:
        problems.append(Problem("growth", "daemon", f"by {growth / 1e6:.1f} MB, from {seen.resident[0] / 1e6:.1f} MB"))
    stall = seen.asked.quantile(0.999)
    if len(seen.asked.seconds) >= ENOUGH and stall > MOST_STALL_SEC:
        problems.append(Problem("stalls", "p99.9", f"{stall * 1000:.0f} ms of {len(seen.asked.seconds)} questions"))
    return problems + [Problem("probe errors", "probe", error) for error in seen.asked.errors]


def resident(pid: int) -> int:
    """Bytes of memory that a process has to itself."""
    found = memory_of(pid)
    return found["Private_Clean"] + found["Private_Dirty"]


def attack_by_all(jobd: Program, count: int, seed: str) -> tuple[Counter[str], list[list[str]]]:
    uids = (ALICE, CAROL) if os.geteuid() == 0 else (os.geteuid(),)
    them = [
        User(uids[at % len(uids)], partial(attack, str(jobd.socket), jobd.mark, count // CLIENTS, f"{seed}:{at}"))
        for at in range(CLIENTS)
    ]
    seen: Counter[str] = Counter()
    found: list[list[str]] = []
    for user in them:
        result = user.result()
        assert isinstance(result, list)
        seen.update(result[0])
        found += result[1]
    settle(jobd, ours=2)  # the probe, and we who ask
    return seen, found


def run_frames(_root: Path, size: int, seed: int) -> Report:
    """F6: so many frames over the socket, and ten times as many bodies in this process."""
    problems = read_all(size * IN_PROCESS, seed)
    prober = BOB if os.geteuid() == 0 else os.geteuid()
    with for_everybody("F6") as jobd:
        before = pids(jobd)
        with Probe(str(jobd.socket), prober, before[0]) as probe:
            codes, found = attack_by_all(jobd, size // WARM, f"{seed}:warm")
            warm = resident(before[0])
            more, also = attack_by_all(jobd, size - size // WARM, f"{seed}:hot")
            end = resident(before[0])
        seen = Seen(found + also, jobd.log_text(), (before, pids(jobd)), (warm, end), probe.asked)
    problems += judge(seen)
    codes += more
    stall = f"p99.9 {probe.asked.quantile(0.999) * 1000:.1f} ms of {len(probe.asked.seconds)} questions meanwhile"
    words = f"{size * IN_PROCESS} bodies, {codes[BROUGHT]} frames of {CLIENTS} clients ({codes['answers']} answers, "
    words += f"{codes['ended']} ends), {(end - warm) / 1e6:+.1f} MB, {stall}"
    return Report(seed, words, tally(KINDS, problems), details(problems))
