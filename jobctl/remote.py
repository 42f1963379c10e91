"""jobd on another host: one ssh for each jobctl, and all connections inside it.

A thread relays between the sockets that verbs use, as if they were jobd's own, and ssh. The rules: it has no signals
(Ctrl-C interrupts the verb), and a connection lost over there is made anew by the far bridge; an ssh lost is started
anew, and asks nobody anything then. A thread, since a process would be one more thing to outlive jobctl.
"""

from __future__ import annotations

import os
import time
from _socket import AF_UNIX, SHUT_RDWR, SHUT_WR, SOCK_CLOEXEC, SOCK_STREAM, socket, socketpair
from _thread import allocate_lock, start_new_thread
from select import POLLIN, POLLOUT, poll

from jobctl import channels, remote_ssh, terminal
from jobctl.connect import FAR, NETWORK_SEC
from jobctl.exits import Fault, NoDaemonError
from jobd.wire.plainpack import PlainpackError, packb, unpackb

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jobctl.connect import Target
    from jobctl.hosts import Host

    Words = dict[str, object]

MSG_FLAGS = 0x4000 | 0x40  # MSG_NOSIGNAL | MSG_DONTWAIT
END_SEC = 5.0  # for ssh to end after its streams have: it does at once
UNAVAILABLE = "unavailable"  # of jobd.wire.errors
AGAIN_SEC = 0.5  # from one attempt to the next
SIGTERM = 15


def open_remote(target: Target, start: bool) -> tuple[socket, str]:
    """As connect.open_target, on the host that `target` names. Raises NoDaemonError."""
    return _remote(target).open(target, start)


def session(target: Target) -> Words:
    """What a command has that ssh starts on the host that `target` names. Raises NoDaemonError."""
    return _remote(target).session()


def _remote(target: Target) -> Remote:
    if target.remote is None:
        target.remote = FAR.remote = Remote(target)
    return target.remote


class Remote:
    """The ssh of this jobctl, and the next after it was lost."""

    def __init__(self, target: Target) -> None:
        from jobctl import hosts

        self.host = hosts.parse(target.host)
        self._batch = target.batch or not remote_ssh.has_terminal()
        self._line: _Line | None = None
        self.needs_grant = False  # what we run there, as root
        self._was_up = False
        self._told = False  # that it is lost
        self._began = 0.0
        self._names: dict[tuple[str, int], str] = {}
        self._session: Words | None = None

    def open(self, target: Target, start: bool) -> tuple[socket, str]:
        """A connection to jobd there, and the path of its socket."""
        question: Words = {"op": "open", "mode": target.mode, "start": start}
        if target.socket:
            question["socket"] = os.fsencode(target.socket)
        near, far = socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC)
        try:
            answer = self._up().ask(question, far)
        except BaseException as e:
            near.close()
            if isinstance(e, NoDaemonError) and self.is_lost and not self._told:
                self._told = True
                terminal.warn(f"{e}; trying again for {NETWORK_SEC:g} s")
            raise
        self._told = False
        self.needs_grant = bool(answer.get("grants"))
        path = answer.get("path")
        return near, os.fsdecode(path) if isinstance(path, bytes) else ""

    @property
    def is_lost(self) -> bool:
        """Whether there was a connection to the host, and there is none now."""
        return self._was_up and (self._line is None or self._line.is_dead)

    def usage(self, cgroup: str, pids: list[int]) -> Words:
        """What processes there use: the fields of jobctl.usage.Usage."""
        try:
            return self._up().ask({"op": "usage", "cgroup": cgroup, "pids": pids})
        except Fault:
            return {}

    def grant(self, request: Words) -> None:
        """Have the bridge, which is root's, tell the keeper as `connect.grant` does. Raises Fault if it refuses."""
        from jobd.wire.granting import FIELDS

        self._up().ask({"op": "grant", **{key: request[key] for key in (*FIELDS, "instances") if key in request}})

    def session(self) -> Words:
        """What a command that ssh starts there would have: directory, environment, umask, limits."""
        if self._session is None:
            found = self._up().ask({"op": "session"})
            if not {"cwd", "env", "least", "umask", "rlimits", "nice"} <= found.keys():
                raise Fault("internal", f"cannot use {self.host.word}: its jobd-stdio-bridge says too little")
            self._session = found
        return self._session

    def name(self, kind: str, number: int) -> str:
        """The name of a user (`uids`) or group (`gids`) there; the number where nobody can say."""
        key = (kind, number)
        if key not in self._names:
            try:
                answer = self._up().ask({"op": "names", kind: [number]})[kind]
            except Fault:
                answer = []
            self._names[key] = str(answer[0]) if isinstance(answer, list) and answer else str(number)
        return self._names[key]

    def end(self) -> None:
        """Drop it all: an ssh that still asks for a password must not go on doing so."""
        if self._line is not None:
            self._line.drop()

    def _up(self) -> _Line:
        """The ssh, started if there is none that lives."""
        line = self._line
        if line is None or line.is_dead:
            self._was_up = self._was_up or (line is not None and line.was_up)
            if self._was_up:
                time.sleep(max(0.0, self._began + AGAIN_SEC - time.monotonic()))
            self._began = time.monotonic()
            self._line = line = _Line(self.host, self._batch, self._was_up)
        return line


class _Answer:
    """What the thread is to find out for somebody who waits."""

    __slots__ = ("error", "lock", "number", "question", "sock", "words")

    def __init__(self, number: int, question: bytes, sock: socket | None) -> None:
        self.number = number
        self.question = question
        self.sock = sock  # to be relayed when the answer is good
        self.words: Words = {}
        self.error = ""
        self.lock = allocate_lock()
        self.lock.acquire()


class _Line:
    """One ssh, from its start to its end. `ask` and `drop` are the verb's; all else is the thread's."""

    def __init__(self, host: Host, batch: bool, again: bool) -> None:
        self.is_dead = False
        self.was_up = False  # the bridge has said its first line
        self._host = host.word
        self._why = ""  # it is dead
        self._number = 0
        self._asked: list[_Answer] = []  # by the verb, and not taken by the thread yet
        self._waiting: dict[int, _Answer] = {}
        self._guard = allocate_lock()  # of is_dead, _asked and the pid, which is another's once it was reaped
        self._sock, theirs = socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC)
        self._stderr, said = os.pipe2(os.O_CLOEXEC)
        try:
            self._pid = remote_ssh.start(remote_ssh.command(host, batch, again), theirs, said)
        except BaseException:
            self._sock.close()
            os.close(self._stderr)
            raise
        finally:
            theirs.close()
            os.close(said)
        self._wake, self._waker = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._sock.setblocking(False)
        os.set_blocking(self._stderr, False)
        self._said_all = False
        self._noise = b""
        self._voice = remote_ssh.Voice()
        self._channels = channels.Channels(self._sock.recv, self._send, self._answered)
        self._channels.queue_plain(channels.PREAMBLE)
        start_new_thread(self._run, ())

    # --- the verb's -----------------------------------------------------------------------------------------------
    def ask(self, question: Words, sock: socket | None = None) -> Words:
        """Ask the bridge, and wait for its answer; `sock` is relayed to the connection that it opens.

        Raises:
            NoDaemonError: there is none, or no bridge.
            Fault: it refuses.
        """
        self._number += 1
        answer = _Answer(self._number, packb(question), sock)
        with self._guard:
            if self.is_dead:
                raise NoDaemonError(self._why)
            self._asked.append(answer)
            os.write(self._waker, b"\0")
        try:
            answer.lock.acquire()
        except BaseException:
            self.drop()
            raise
        code = str(answer.words.get("code", ""))
        if answer.error:
            raise NoDaemonError(answer.error)
        if code:
            text = f"{answer.words.get('message', code)} (on {self._host})"
            raise NoDaemonError(text) if code == UNAVAILABLE else Fault(code, text)
        return answer.words

    def drop(self) -> None:
        """Nothing more is wanted. One that is up sees the end of its streams, and may be others' master."""
        with self._guard:
            if self.is_dead:
                return
            if not self.was_up:
                os.kill(self._pid, SIGTERM)
            channels.shut_down(self._sock, SHUT_RDWR)

    # --- the thread's ---------------------------------------------------------------------------------------------
    def _run(self) -> None:
        """Relay until ssh has gone."""
        import _signal  # type: ignore[import-not-found]

        _signal.pthread_sigmask(_signal.SIG_BLOCK, _signal.valid_signals())
        try:
            while len(self._noise) <= remote_ssh.NOISE_BYTES:
                self._turn()
        except channels.WireEndedError:
            channels.shut_down(self._sock, SHUT_WR)  # ssh may be there still, and wait for what we say
        finally:
            self._end()

    def _turn(self) -> None:
        """Wait for something to happen, and see to it. Raises WireEndedError."""
        wire = self._sock.fileno()
        wanted = {wire: POLLIN | (POLLOUT if self._channels.wants_to_send else 0), self._wake: POLLIN}
        if not self._said_all:
            wanted[self._stderr] = POLLIN
        self._channels.wants(wanted)
        ready = _poll(wanted, remote_ssh.HOLD_SEC if self._voice.last else None)
        if self._stderr in ready:
            self._listen()
        elif not ready:
            self._voice.show()
        if self._wake in ready:
            self._take_questions()
        if ready.get(wire, 0) & ~POLLOUT:
            if self.was_up:
                self._channels.receive()
            else:
                self._greet()
        self._channels.polled(ready)
        self._channels.flush()

    def _send(self, pieces: list[bytes | memoryview]) -> int:
        return self._sock.sendmsg(pieces, (), MSG_FLAGS)

    def _take_questions(self) -> None:
        os.read(self._wake, channels.RECEIVE_BYTES)
        with self._guard:
            asked, self._asked = self._asked, []
        for answer in asked:
            self._waiting[answer.number] = answer
            self._channels.queue(channels.QUESTION, answer.number, answer.question)

    def _answered(self, kind: int, number: int, words: bytes) -> None:
        """The bridge has answered a question."""
        answer = self._waiting.get(number)
        if kind != channels.ANSWER or answer is None:
            return
        try:
            found = unpackb(words)
        except PlainpackError as e:
            raise channels.WireEndedError(str(e)) from e  # it is among those who wait, and is told
        del self._waiting[number]
        answer.words = found if isinstance(found, dict) else {}
        if answer.sock is not None and not answer.words.get("code"):
            self._channels.add(number, answer.sock)
        elif answer.sock is not None:
            answer.sock.close()
        answer.lock.release()

    def _greet(self) -> None:
        """Take what comes before the bridge's first line, and that."""
        try:
            piece = self._sock.recv(channels.RECEIVE_BYTES)
        except BlockingIOError:
            return
        except OSError:
            piece = b""
        self._noise += piece
        if not piece:
            raise channels.WireEndedError("it has ended")
        found = remote_ssh.magic_line(self._noise)
        if found is not None:
            self.was_up, self._noise = True, b""
            if not self._said_all:
                self._listen()
            self._voice.show()
            self._channels.feed(found[1])

    def _listen(self) -> None:
        """Hear what ssh says on its stderr."""
        try:
            data = os.read(self._stderr, channels.RECEIVE_BYTES)
        except BlockingIOError:
            return
        self._said_all = not data
        self._voice.take(data)
        if self.was_up:
            self._voice.show()

    def _end(self) -> None:
        """See how ssh ends, and tell all who wait."""
        status = self._status()
        self._why = f"lost the connection to {self._host}"
        if not self.was_up:
            self._why = remote_ssh.why_failed(self._host, status, self._voice.end(), self._noise)
        with self._guard:
            waiting = [*self._waiting.values(), *self._asked]
        self._channels.close()
        self._sock.close()
        for fd in (self._stderr, self._wake, self._waker):
            os.close(fd)
        for answer in waiting:
            if answer.sock is not None:
                answer.sock.close()
            answer.error = self._why
            answer.lock.release()

    def _status(self) -> int | None:
        """Its exit status; None where it does not end by itself, and is told to."""
        goes_on = len(self._noise) > remote_ssh.NOISE_BYTES
        if not goes_on:
            goes_on = not self._await_end(END_SEC)
        if goes_on:
            os.kill(self._pid, SIGTERM)
            self._await_end(END_SEC)
        with self._guard:
            pid, status = os.waitpid(self._pid, os.WNOHANG)
            self.is_dead = True  # and nobody signals that pid any more
        return os.waitstatus_to_exitcode(status) if pid and not goes_on else None

    def _await_end(self, seconds: float) -> bool:
        """Wait for its end, and hear all it says until then; whether it has ended."""
        pidfd = os.pidfd_open(self._pid)
        deadline = time.monotonic() + seconds
        try:
            while (left := deadline - time.monotonic()) > 0:
                wanted = {pidfd: POLLIN}
                if not self._said_all:
                    wanted[self._stderr] = POLLIN
                ready = _poll(wanted, left)
                if self._stderr in ready:
                    self._listen()
                elif pidfd in ready:
                    return True
            return False
        finally:
            os.close(pidfd)


def _poll(wanted: dict[int, int], timeout_sec: float | None) -> dict[int, int]:
    poller = poll()
    for fd, events in wanted.items():
        poller.register(fd, events)
    return dict(poller.poll(None if timeout_sec is None else timeout_sec * 1000))
