"""Who asks, and what each request comes to for him: the tables of test_matrix."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jobd.core.ids import new_run_id
from jobd.wire import messages as m
from tests.system.callers import SAME_ID

if TYPE_CHECKING:
    from collections.abc import Callable

ALICE = 61001
ADMINS, READERS, OPERATORS = 61900, 61901, 61902  # groups
RULES = f"""
[[allow]]
groups = ["readers"]
actions = ["@read"]
owners = ["{ALICE}"]
jobs = ["web", "live"]

[[allow]]
groups = ["operators"]
actions = ["stop", "restart"]
owners = ["*"]
jobs = ["*"]
"""
# By name: uid, primary group, supplementary groups.
CALLERS = {
    "root": (0, 0, ()),
    "admin": (61002, 61002, (27, ADMINS)),
    "owner": (ALICE, ALICE, ()),
    "other": (61003, 61003, (27,)),
    "reader": (61004, READERS, ()),
    "operator": (61005, 61005, (27, OPERATORS)),
}
I = SAME_ID  # noqa: E741  # an id

# For each request: what alice's job, or its run, is to each caller: + may, - may not, . is not there. Then how it is
# asked for the job `word` whose newest run is `run`.
#              root admin owner other reader operator
MATRIX: dict[str, tuple[str, Callable[[str, bytes], m.Request]]] = {
    "get":          ("+ + + . + +", lambda word, _: m.Get(id=I, names=[word])),
    "why":          ("+ + + . + +", lambda word, _: m.Why(id=I, names=[word])),
    "tree":         ("+ + + . + +", lambda word, _: m.Get(id=I, names=[word], tree=True)),
    "history":      ("+ + + . + +", lambda word, _: m.History(id=I, jobs=[word])),
    "stats":        ("+ + + . + +", lambda word, _: m.HistoryStats(id=I, jobs=[word])),
    "resolve":      ("+ + + . + +", lambda word, _: m.Resolve(id=I, job=word)),
    "resolve id":   ("+ + + . + +", lambda _, run: m.Resolve(id=I, run=run.hex())),
    "resolve end":  ("+ + + . + +", lambda _, run: m.Resolve(id=I, run=run.hex()[-12:])),
    "resolve both": ("+ + + . + +", lambda word, run: m.Resolve(id=I, job=word, run=run.hex()[-8:])),
    "wait":         ("+ + + . + +", lambda word, _: m.Wait(id=I, jobs=[word])),
    "wait run":     ("+ + + . + +", lambda _, run: m.Wait(id=I, runs=[run])),
    "events":       ("+ + + . + +", lambda word, _: m.Events(id=I, jobs=[word])),
    "events after": ("+ + + . + +", lambda word, _: m.Events(id=I, jobs=[word], after=1)),
    "audit":        ("+ + + . + +", lambda word, _: m.Events(id=I, jobs=[word], audit=True)),
    "logs":         ("+ + + . + -", lambda word, _: m.Logs(id=I, jobs=[word])),
    "logs all":     ("+ + + . + -", lambda word, _: m.Logs(id=I, jobs=[word], run="all")),
    "logs run":     ("+ + + . + -", lambda _, run: m.Logs(id=I, jobs=[], run=run.hex())),
    "cat":          ("+ + + . + -", lambda word, _: m.Cat(id=I, names=[word])),
    "dependencies": ("+ + + . + +", lambda word, _: m.ListDependencies(id=I, names=[word])),
    "start":        ("+ + + . - -", lambda word, _: m.Start(id=I, names=[word], runs=[new_run_id()])),
    "stop":         ("+ + + . - +", lambda word, _: m.Stop(id=I, names=[word])),
    "stop run":     ("+ + + . - +", lambda word, run: m.Stop(id=I, names=[word], runs=[run])),
    "restart":      ("+ + + . - +", lambda word, _: m.Restart(id=I, names=[word], runs=[new_run_id()])),
    "try-restart":  ("+ + + . - +", lambda word, _: m.Restart(
        id=I, names=[word], runs=[new_run_id()], running_only=True)),
    "reload":       ("+ + + . - -", lambda word, _: m.Reload(id=I, names=[word])),
    "reload-or":    ("+ + + . - +", lambda word, _: m.Reload(
        id=I, names=[word], runs=[new_run_id()], or_restart=True)),
    "kill":         ("+ + + . - -", lambda word, _: m.Kill(id=I, names=[word])),
    "kill run":     ("+ + + . - -", lambda word, run: m.Kill(id=I, names=[word], runs=[run], once="x")),
    "freeze":       ("+ + + . - -", lambda word, _: m.Freeze(id=I, names=[word])),
    "thaw":         ("+ + + . - -", lambda word, _: m.Thaw(id=I, names=[word])),
    "cancel":       ("+ + + . - -", lambda word, _: m.CancelQueued(id=I, names=[word])),
    "hold":         ("+ + + . - -", lambda word, _: m.Hold(id=I, names=[word])),
    "release":      ("+ + + . - -", lambda word, _: m.Release(id=I, names=[word])),
    "reset-failed": ("+ + + . - -", lambda word, _: m.ResetFailed(id=I, names=[word])),
    "set-property": ("+ + + . - -", lambda word, _: m.SetProperty(id=I, name=word, settings={"description": "x"})),
    "switch":       ("+ + + . - -", lambda word, _: m.QueueSwitch(id=I, first=word, second=word)),
    "revert":       ("+ + + . - -", lambda word, _: m.Revert(id=I, names=[word])),
    "enable":       ("+ + + . - -", lambda word, _: m.Enable(id=I, names=[word])),
    "rerun":        ("+ + + . - -", lambda word, _: m.Rerun(id=I, new=new_run_id(), job=word)),
    "rerun id":     ("+ + + . - -", lambda _, run: m.Rerun(id=I, new=new_run_id(), run=run.hex())),
    "attach":       ("+ + + . - -", lambda _, run: m.Attach(id=I, run=run)),
    "close-output": ("+ + + . - -", lambda _, run: m.CloseOutput(id=I, run=run)),
    "rm":           ("+ + + . - -", lambda word, _: m.Remove(id=I, names=[word])),
    "rm of a run":  ("+ + + . - -", lambda word, _: m.Remove(id=I, names=[word], runs=[bytes(16)])),
}  # fmt: skip
# Those that are about no job of anybody's in particular.
DAEMON: dict[str, tuple[str, Callable[[], m.Request]]] = {
    "run":           ("+ + + + + +", lambda: m.Run(id=I, run=new_run_id(), argv=[b"true"], env=[], cwd=b"/")),
    "list":          ("+ + + + + +", lambda: m.List(id=I, all=True)),
    "job files":     ("+ + + + + +", lambda: m.ListFiles(id=I)),
    "whoami":        ("+ + + + + +", lambda: m.Whoami(id=I, pids=[1])),
    "queues":        ("+ + + + + +", lambda: m.QueueList(id=I, all=True)),
    "a queue":       ("+ + + + + +", lambda: m.QueueShow(id=I, name="batch")),
    "hers":          ("+ + + . . +", lambda: m.QueueShow(id=I, name=f"{ALICE}/build")),
    "set hers":      ("+ + + . . -", lambda: m.QueueSet(id=I, name=f"{ALICE}/build", slots=3)),
    "set shared":    ("+ + - - - -", lambda: m.QueueSet(id=I, name="batch", slots=3)),
    "add shared":    ("+ + - - - -", lambda: m.QueueAdd(id=I, name="all", shared=True)),
    "add hers":      ("+ + + - - -", lambda: m.QueueAdd(id=I, name=f"{ALICE}/more")),
    "rm shared":     ("+ + - - - -", lambda: m.QueueRemove(id=I, name="batch")),
    "list-timers":   ("+ + + + + +", lambda: m.ListTimers(id=I)),
    "auth-whoami":   ("+ + + + + +", lambda: m.AuthWhoami(id=I)),
    "auth-rules":    ("+ + + + + +", lambda: m.AuthRules(id=I)),
    "auth-can-i":    ("+ + + + + +", lambda: m.AuthCanI(id=I, action="stop", job=f"{ALICE}/web")),
    "can-i for":     ("+ + - - - -", lambda: m.AuthCanI(id=I, action="stop", job="web", user="61077")),
    "status":        ("+ + + + + +", lambda: m.DaemonStatus(id=I)),
    "daemon-reload": ("+ + - - - -", lambda: m.DaemonReload(id=I)),
    "run after hers": ("+ + + . + +", lambda: m.Run(
        id=I, run=new_run_id(), argv=[b"true"], env=[], cwd=b"/", after=[f"{ALICE}/web:any"])),
    "run as":        ("+ - - - - -", lambda: m.Run(
        id=I, run=new_run_id(), argv=[b"true"], env=[], cwd=b"/", settings={"user": "daemon"}, exec_wait=False)),
}  # fmt: skip
# Not to be tried by who may: the daemon would be gone. They come last, in tests of their own.
LAST: dict[str, tuple[str, Callable[[], m.Request]]] = {
    "daemon-reexec": ("+ + - - - -", lambda: m.DaemonReexec(id=I)),
    "shutdown":      ("+ + - - - -", lambda: m.Shutdown(id=I)),
}  # fmt: skip
SILENT = {m.Input, m.Resize}  # parts of an Attach, and without an answer
MAKES = {m.Define, m.Mask}  # what is not there yet: tests/system/test_stored.py
MAKES_RUNS = {"start", "restart", "reload-or", "rerun", "rerun id", "rm", "rm of a run"}
