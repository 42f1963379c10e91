"""One message of each kind, with every field that has room set: the golden bytes and the man page's test use them."""

from __future__ import annotations

from typing import Final

from jobd.wire import messages as m
from tests.wire.example_views import ENDED, FILES, JOB, OTHER, QUEUE, RUN, T

CLIENT: Final[dict[str, m.FromClient]] = {
    "hello": m.Hello(version=1, software="jobctl 0.1.0"),
    "run": m.Run(
        id=1,
        run=RUN,
        argv=[b"make", b"-j4", b"caf\xe9"],
        env=[b"PATH=/usr/bin:/bin", b"BASH_FUNC_x%%=() { :; }", b"EMPTY="],
        cwd=b"/srv/src",
        name="build",
        shell=False,
        umask=0o027,
        rlimits={"nofile": (1024, -1)},
        nice=5,
        settings={"stop.timeout": "5s"},
        exec_wait=False,
        stdin="pty",
        window=(24, 80),
        after=["db-1", "web:any"],
        not_before=T,
        delay_usec=600_000_000,
        hold=True,
        singleton=True,
        array="0-99%4",
    ),
    "run-shell": m.Run(id=2, run=RUN, argv=[b"true; false"], env=[], cwd=b"/", shell=True),
    "rerun": m.Rerun(id=17, new=RUN, job="web", run="-1", exec_wait=False, stdin="pipe", window=(50, 132)),
    "start": m.Start(id=3, names=["web", "db"], runs=[RUN, OTHER], no_block=True),
    "stop": m.Stop(id=4, names=["web"], no_block=True, runs=[RUN]),
    "restart": m.Restart(id=5, names=["web"], runs=[RUN], no_block=True, running_only=True),
    "define": m.Define(
        id=30, name="web", text='command = "serve"', base=b"/srv", dropin="override.toml", replace=True, dry=True
    ),
    "revert": m.Revert(id=31, names=["web"]),
    "enable": m.Enable(id=32, names=["web"], enabled=False),
    "mask": m.Mask(id=33, names=["web"], masked=False),
    "reload": m.Reload(id=34, names=["web"], runs=[RUN], or_restart=True, running_only=True, no_block=True),
    "set-property": m.SetProperty(id=35, name="web", settings={"limits.memory": "1G"}),
    "list-job-files": m.ListFiles(id=36, patterns=["w*"], states=["enabled"], after="0/web"),
    "list-dependencies": m.ListDependencies(id=37, names=["web"], reverse=True, order=True),
    "why": m.Why(id=38, names=["web"]),
    "queue-list": m.QueueList(id=39, patterns=["b*"], all=True),
    "queue-show": m.QueueShow(id=40, name="build", limit=10, after="77"),
    "queue-add": m.QueueAdd(id=41, name="build", slots=4, shared=True),
    "queue-set": m.QueueSet(id=42, name="alice/build", slots=-1, state="paused"),
    "queue-remove": m.QueueRemove(id=43, name="build"),
    "queue-switch": m.QueueSwitch(id=44, first="make-1", second="make-2", once="c0ffee"),
    "cancel-queued": m.CancelQueued(id=45, names=["make-1"], runs=[RUN]),
    "hold": m.Hold(id=46, names=["make-1"]),
    "release": m.Release(id=47, names=["make-1"]),
    "list-timers": m.ListTimers(id=48, patterns=["b*"], all=True, after="7 1000/backup"),
    "history-stats": m.HistoryStats(
        id=49, jobs=["make-*"], queue="build", since=T, until=T + 1, limit=10, after="1000/make"
    ),
    "kill": m.Kill(id=6, names=["alice/web"], signal=9, whom="main", runs=[RUN], once="c0ffee"),
    "freeze": m.Freeze(id=18, names=["web"]),
    "thaw": m.Thaw(id=19, names=["web"]),
    "reset-failed": m.ResetFailed(id=20, names=["web"]),
    "remove": m.Remove(id=21, names=["web"], stop=True, purge=True, runs=[RUN]),
    "get": m.Get(id=7, names=["web*"], tree=True),
    "list": m.List(id=8, patterns=["w*"], all=True, states=["failed"], after="0/web", queue="build", waiting=100),
    "history": m.History(
        id=9, jobs=["web"], states=["failed"], since=-T, until=T, limit=1000, offset=10, before=77, queue="build"
    ),
    "resolve": m.Resolve(id=10, job="web", run="-1"),
    "logs": m.Logs(
        id=11,
        jobs=["web"],
        run="3",
        follow=True,
        lines=20,
        since=T,
        until=T + 1,
        stdout=False,
        stderr=False,
        split=True,
        out_from=70_000,
        err_from=1,
        one_run=True,
    ),
    "wait": m.Wait(id=12, jobs=["web"], runs=[RUN], any=True, queue="shared/batch"),
    "events": m.Events(id=22, jobs=["web"], after=77, lines=10, since=T, until=T + 1, follow=True, audit=True),
    "cat": m.Cat(id=23, names=["web"]),
    "whoami": m.Whoami(id=24, pids=[4711]),
    "auth-whoami": m.AuthWhoami(id=25),
    "auth-can-i": m.AuthCanI(id=30, action="stop", job="alice/web", user="bob"),
    "auth-rules": m.AuthRules(id=31),
    "daemon-reload": m.DaemonReload(id=32, names=["web"], dry=True),
    "attach": m.Attach(id=26, run=RUN, input=False, window=(24, 80)),
    "input": m.Input(id=27, request=26, offset=70_000, data=b"hello\n\xff\0", eof=True),
    "resize": m.Resize(id=28, request=26, window=(50, 132)),
    "close-output": m.CloseOutput(id=29, run=RUN),
    "daemon-status": m.DaemonStatus(id=13),
    "daemon-reexec": m.DaemonReexec(id=14, keeper=True),
    "shutdown": m.Shutdown(id=15),
    "cancel": m.Cancel(id=16, request=11),
}

DAEMON: Final[dict[str, m.FromDaemon]] = {
    "hello": m.Hello(version=1, software="jobd 0.1.0", uid=1000, gid=1000, pid=4242),
    "reply-ok": m.Reply(id=14, body=m.Ok(text="accepted")),
    "reply-started": m.Reply(
        id=1,
        body=m.Started(
            job="build",
            owner=1000,
            run=RUN,
            number=1,
            pid=4711,
            step="exec",
            errno=2,
            text="cannot start build: executing make: No such file or directory",
            waits="for queue build, which is full",
            elements=100,
        ),
    ),
    "reply-jobs": m.Reply(
        id=7, body=m.Jobs(jobs=[JOB, m.JobView(job="db", owner=1000)], more="1000/web", left_out={"build": 9900})
    ),
    "reply-runs": m.Reply(id=9, body=m.Runs(runs=[ENDED], more=76)),
    "reply-daemon": m.Reply(
        id=13,
        body=m.Daemon(
            version="0.1.0",
            state="degraded",
            pid=2,
            keeper_pid=1,
            keeper_version="0.1.0",
            socket="/run/jobd/jobd.sock",
            state_dir="/var/lib/jobd",
            mode="system",
            started_at=T,
            tracking="cgroup",
            kernel="6.16.0",
            running=1,
            queued=2,
            connections=3,
            reasons=["the disk is full"],
            incarnation=4,
            python="3.11.2",
            uid=998,
            config_dir="/etc/jobd",
        ),
    ),
    "reply-queues": m.Reply(id=39, body=m.Queues(queues=[m.QueueView(name="batch"), QUEUE])),
    "reply-queue-detail": m.Reply(id=40, body=m.QueueDetail(view=QUEUE, runs=[ENDED], others=3, more="77")),
    "reply-timers": m.Reply(
        id=48,
        body=m.Timers(
            timers=[
                m.TimerView(
                    job="backup",
                    owner=1000,
                    run=RUN,
                    next=T + 1,
                    last=T,
                    schedule=["03:00"],
                    description="Nightly backup",
                    active="active",
                )
            ],
            more="8 1000/backup",
        ),
    ),
    "reply-stats": m.Reply(
        id=49,
        body=m.Stats(
            stats=[
                m.StatsView(
                    job="make",
                    owner=1000,
                    runs=10,
                    success=8,
                    failed=1,
                    p50_usec=1_000_000,
                    p95_usec=2_000_000,
                    p50_bytes=1 << 20,
                    p95_bytes=1 << 21,
                    cpu_usec=9_000_000,
                    last_at=T,
                )
            ],
            more="1000/make",
        ),
    ),
    "reply-plan": m.Reply(
        id=30,
        body=m.Plan(
            changes=[
                m.Planned(
                    job="web", owner=1000, change="changed", file="stored", keys=["command"], restart=True, text="why"
                )
            ],
            warnings=["limits.memory: no memory controller"],
        ),
    ),
    "reply-files": m.Reply(
        id=36,
        body=m.Files(
            files=[
                m.FileView(
                    job="web",
                    owner=0,
                    state="enabled",
                    file="/etc/jobd/jobs/web.toml",
                    dropins=["/etc/jobd/jobs/web.toml.d/a.toml"],
                    load="bad-setting",
                )
            ],
            more="0/web",
        ),
    ),
    "reply-graph": m.Reply(id=37, body=m.Graph(links=[m.Link(job="web", kind="requires", other="db")], jobs=[JOB])),
    "reply-reasons": m.Reply(
        id=38,
        body=m.Reasons(
            reasons=[
                m.Reason(
                    job="web",
                    owner=1000,
                    kind="dependency",
                    text="db failed",
                    at=T,
                    run=RUN,
                    number=3,
                    by_uid=0,
                    other="db",
                )
            ]
        ),
    ),
    "item-progress": m.Item(id=4, body=m.Progress(job="web", text="stopping web: 2 processes left")),
    "item-done": m.Item(id=4, body=m.Done(job="web", code="denied", text="cannot stop web", run=RUN, number=3)),
    "item-ended": m.Item(id=12, body=m.Ended(run=ENDED)),
    "item-log-run": m.Item(
        id=11, body=m.LogRun(job="web", owner=1000, run=RUN, number=3, pid=4711, out_from=5, err_from=6)
    ),
    "item-output": m.Item(
        id=11, body=m.Output(run=RUN, stream=1, offset=70_000, wall=T, mono=12_345_678_901, data=b"hello\n\xff\0")
    ),
    "item-dropped": m.Item(id=11, body=m.Dropped(run=RUN, stream=2, offset=70_000, length=60_000)),
    "item-attached": m.Item(
        id=26,
        body=m.Attached(
            job="web", owner=1000, run=RUN, number=3, pid=4711, stdin="pipe", received=7, limit=70_000, open=True
        ),
    ),
    "item-fed": m.Item(id=26, body=m.Fed(received=7, limit=70_000, open=False, taken=True)),
    "item-change": m.Item(
        id=22,
        body=m.Change(
            seq=78,
            at=T,
            kind="finished",
            job="web",
            owner=1000,
            run=RUN,
            number=3,
            active="failed",
            sub="failed",
            state="finished",
            result="exit-code",
            exit_code=1,
            signal=15,
            pid=4711,
            step="exec",
            reason="the machine was restarted",
            by_uid=0,
            by_gid=0,
            by_pid=4242,
            queue="build",
            slots=-1,
            priority=5,
            held=False,
            cause="restart",
            due=T,
        ),
    ),
    "item-missed": m.Item(id=22, body=m.Missed(after=3, before=70)),
    "item-reached": m.Item(id=22, body=m.Reached(seq=140)),
    "reply-definitions": m.Reply(
        id=23,
        body=m.Definitions(
            definitions=[m.Definition(job="web", owner=1000, load="not-found", transient=False, text="x", files=FILES)]
        ),
    ),
    "reply-members": m.Reply(
        id=24, body=m.Members(members=[m.Member(pid=4711, job="web", owner=1000, run=RUN, number=3), m.Member(pid=1)])
    ),
    "reply-identity": m.Reply(
        id=25,
        body=m.Identity(uid=1000, gid=1000, groups=[27], pid=4242, owner=1000, rules=["read", "control"], admin=True),
    ),
    "reply-decision": m.Reply(
        id=30,
        body=m.Decision(
            action="stop", uid=1001, allowed=False, visible=True, rule="/etc/jobd/jobd.toml:7", job="web", owner=1000
        ),
    ),
    "reply-rules": m.Reply(
        id=31,
        body=m.Rules(
            rules=[
                m.RuleView(
                    line=7, users=["bob"], groups=["dev"], actions=["@read", "stop"], owners=["alice"], jobs=["web*"]
                )
            ],
            file="/etc/jobd/jobd.toml",
            error="/etc/jobd/jobd.toml:9: unknown key",
        ),
    ),
    "end": m.End(id=11),
    "fault": m.Fault(code="not-found", message="cannot get web: no such job", id=7, details={"job": "web"}),
    "fault-connection": m.Fault(code="malformed", message="cannot read the message: truncated"),
}
