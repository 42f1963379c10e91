# Completion of jobctl(1) for fish.

# Reads the line up to the cursor: its words; the verb; target, the options that name the daemon; job and second, the
# first operands; and place, which word run's command begins with. One TAB asks many times, so what was found is kept with its line.
function __jobctl_read
    set -l line (commandline -pc | string collect)
    test "$line" = "$__jobctl_line"; and return
    set -g __jobctl_line $line
    set -g __jobctl_words (commandline -opc)
    set -g __jobctl_verb
    set -g __jobctl_target
    set -g __jobctl_job
    set -g __jobctl_second
    set -g __jobctl_place
    set -l at 2
    set -l dashes
    while set -q __jobctl_words[$at]
        set -l word $__jobctl_words[$at]
        set at (math $at + 1)
        if string match -q -- -- "$word"; and test -z "$dashes"
            set dashes 1
        else if string match -q -- '-?*' "$word"; and test -z "$dashes"
            switch $word
                case --user --system '--socket=*'
                    set -a __jobctl_target $word
                case '-H*' '--host*'
                    set -a __jobctl_target --host=-
                    contains -- $word -H --host; and set at (math $at + 1)
                case --socket
                    set -a __jobctl_target --socket=$__jobctl_words[$at]
                    set at (math $at + 1)
                case '--*=*'
                case '*'
                    # Of -fn 20 the n is what wants a value.
                    string match -qr '^-[^-]' -- $word; and set word -(string sub -s -1 -- $word)
                    contains -- $word (string split ' ' -- (__jobctl_valued $__jobctl_verb)); and set at (math $at + 1)
            end
        else if test -z "$__jobctl_verb"
            set -g __jobctl_verb $word
        else if test "$__jobctl_verb" = run
            set -g __jobctl_place (math $at - 1)
            break
        else if test -z "$__jobctl_job"
            set -g __jobctl_job $word
        else if test -z "$__jobctl_second"
            set -g __jobctl_second $word
        end
    end
end

function __jobctl_no_verb
    __jobctl_read
    test -z "$__jobctl_verb"
end

function __jobctl_no_command
    __jobctl_read
    test -z "$__jobctl_place"
end

function __jobctl_verb --argument-names wanted
    __jobctl_read
    test "$__jobctl_verb" = "$wanted"; and test -z "$__jobctl_place"
end

# The same before its first operand.
function __jobctl_first --argument-names wanted
    __jobctl_verb $wanted; and test -z "$__jobctl_job"
end

# The same behind it.
function __jobctl_behind --argument-names wanted
    __jobctl_verb $wanted; and test -n "$__jobctl_job"
end

# What stands behind auth can-i: a verb, then a job.
function __jobctl_can_i
    __jobctl_verb auth; and test "$__jobctl_job" = can-i; or return
    if test -z "$__jobctl_second"
        __jobctl_verbs
    else
        __jobctl_jobs any
    end
end

# What stands behind a verb of queue.
function __jobctl_of_queues
    __jobctl_verb queue; and test -n "$__jobctl_job"; or return
    switch $__jobctl_job
        case switch
            __jobctl_jobs waiting
        case add set # a queue, for add a new one, and then what it is to be
            if test -n "$__jobctl_second"
                echo slots=
            else if test "$__jobctl_job" = set
                __jobctl_queues
            end
        case '*'
            __jobctl_queues
    end
end

# Names from the daemon: `jobctl __complete KIND ARG... PREFIX`, asked of the daemon that the line names. It waits a
# second at most and starts nothing. Only plain names are taken.
function __jobctl_ask
    __jobctl_read
    set -l program (string replace -r -- '^~/' "$HOME/" $__jobctl_words[1])
    set -l target (string replace -r -- '^--socket=~/' "--socket=$HOME/" $__jobctl_target)
    string match -qr -- '[$`(]' $program $target; and return
    contains -- --host=- $target; and return # each TAB would be a login over there
    command $program $target __complete $argv 2>/dev/null </dev/null \
        | string match -r -- '^[A-Za-z0-9_.@/#-]+\t[a-z() -]*$'
end

# What is typed of a value: in --run=3, which is one word, the 3. fish keeps a quote before it.
function __jobctl_typed
    commandline -ct | string replace -r -- '^(--[a-z-]+=)?["\']?' ''
end

function __jobctl_jobs --argument-names filter
    set -l typed (__jobctl_typed)
    string match -q -- '-*' "$typed"; or __jobctl_ask jobs $filter "$typed"
end

function __jobctl_numbers
    __jobctl_read
    __jobctl_ask runs "$__jobctl_job" "$(__jobctl_typed)"
end

function __jobctl_queues
    __jobctl_ask queues "$(__jobctl_typed)"
end

# The words given, behind what stands before the last comma.
function __jobctl_list
    set -l before (string match -r -- '.*,' (__jobctl_typed))
    printf '%s\n' "$before"$argv
end

# The hosts that ssh knows, behind a comma and a user's name.
function __jobctl_hosts
    set -l before (string match -r -- '.*[,@]' (__jobctl_typed))
    printf '%s\n' "$before"(__fish_print_hostnames)
end

# What run runs is completed as if it stood alone.
function __jobctl_command
    __jobctl_read
    test "$__jobctl_verb" = run; or return
    test -n "$__jobctl_place"; or contains -- -- $__jobctl_words; or not string match -q -- '-*' (commandline -ct)
end

function __jobctl_complete_command
    __jobctl_read
    set -l before
    test -n "$__jobctl_place"; and set before (string escape -- $__jobctl_words[$__jobctl_place..])
    set -l line "$(string join ' ' -- $before (commandline -ct))"
    string match -q -- '-*' "$line"; or complete -C "$line"
end

complete -c jobctl -f
complete -c jobctl -n __jobctl_command -a '(__jobctl_complete_command)'
complete -c jobctl -n '__jobctl_verb auth' -a '(__jobctl_can_i)'
complete -c jobctl -n '__jobctl_verb queue' -a '(__jobctl_of_queues)'
complete -c jobctl -n __jobctl_no_command -s h -l help -d 'Show help.'
complete -c jobctl -n __jobctl_no_verb -l version -d 'Show the version.'

# --- words: made by python -m jobctl.completions.generate ---
# The options of a verb that take a value.
function __jobctl_valued --argument-names verb
    switch $verb
        case run
            echo -- -u --name --unit -E --setenv --env -C --working-directory -p --property --queue --priority --after --at --in --array -o --output
        case rerun
            echo -- -o --output
        case attach
            echo -- --input -n --lines
        case kill
            echo -- -s --signal --kill-whom
        case list
            echo -- --state --queue --legend -t --type -o --output
        case status
            echo -- -n --lines -o --output
        case show
            echo -- -p --property -P -o --output
        case cat
            echo -- -o --output
        case logs
            echo -- -u --unit --job -n --lines -S --since -U --until -g --grep --run -o --output --cursor-file
        case result
            echo -- --run -o --output
        case history
            echo -- -u --unit --job -n --limit --lines --offset --after-cursor --state --queue -S --since -U --until -o --output
        case why
            echo -- -o --output
        case events
            echo -- -u --unit --job -n --lines -S --since -U --until --after-cursor --cursor-file -o --output
        case is-active
            echo -- -o --output
        case is-failed
            echo -- -o --output
        case is-enabled
            echo -- -o --output
        case list-job-files
            echo -- --state -o --output
        case list-dependencies
            echo -- -o --output
        case whoami
            echo -- -o --output
        case wait
            echo -- --queue --timeout -o --output
        case add
            echo -- -u --name --unit
        case edit
            echo -- --drop-in
        case verify
            echo -- --calendar -o --output
        case daemon-reload
            echo -- -o --output
        case queue
            echo -- -o --output
        case list-timers
            echo -- -o --output
        case daemon-status
            echo -- -o --output
        case auth
            echo -- --as -o --output
    end
end

function __jobctl_verbs
    printf '%s\n' run rerun attach start stop restart try-restart reload reload-or-restart kill freeze thaw reset-failed list status show cat logs result history why events is-active is-failed is-enabled list-job-files list-dependencies whoami wait add rm enable disable mask unmask edit revert verify daemon-reload set-property queue cancel hold release list-timers daemon-status daemon-reexec is-system-running shutdown auth help completion
end

complete -c jobctl -n __jobctl_no_verb -a run -d 'Run a command as a job, and print the job\'s name.'
complete -c jobctl -n __jobctl_no_verb -a rerun -d 'Run again what a job, or one run of it, was: the same command, environment and directory.'
complete -c jobctl -n __jobctl_no_verb -a attach -d 'Bring a job that runs to the foreground: with its terminal, or with its stdin, stdout and stderr.'
complete -c jobctl -n __jobctl_no_verb -a start -d 'Start jobs: run the last submission of each again.'
complete -c jobctl -n __jobctl_no_verb -a stop -d 'Stop jobs.'
complete -c jobctl -n __jobctl_no_verb -a restart -d 'Stop jobs, and start them again.'
complete -c jobctl -n __jobctl_no_verb -a try-restart -d 'Stop jobs that are active, and start them again. Others are left as they are.'
complete -c jobctl -n __jobctl_no_verb -a reload -d 'Have running jobs read their configuration again, by reload.signal or reload.command.'
complete -c jobctl -n __jobctl_no_verb -a reload-or-restart -d 'Reload jobs that have a way to, restart others that are active, and start the rest.'
complete -c jobctl -n __jobctl_no_verb -a kill -d 'Send a signal to the processes of jobs.'
complete -c jobctl -n __jobctl_no_verb -a freeze -d 'Hold running jobs where they are.'
complete -c jobctl -n __jobctl_no_verb -a thaw -d 'Let frozen jobs go on.'
complete -c jobctl -n __jobctl_no_verb -a reset-failed -d 'Make failed jobs inactive.'
complete -c jobctl -n __jobctl_no_verb -a list -d 'List jobs that are active, queued, enabled or failed.'
complete -c jobctl -n __jobctl_no_verb -a status -d 'Show the state of jobs, their processes and the last lines of their output.'
complete -c jobctl -n __jobctl_no_verb -a show -d 'Show properties of jobs, one NAME=VALUE a line.'
complete -c jobctl -n __jobctl_no_verb -a cat -d 'Show the definitions of jobs, as job files.'
complete -c jobctl -n __jobctl_no_verb -a logs -d 'Show what jobs wrote: the newest run from its first byte, both streams.'
complete -c jobctl -n __jobctl_no_verb -a result -d 'Show how a run ended, and what it wrote.'
complete -c jobctl -n __jobctl_no_verb -a history -d 'Show past and present runs, the newest first.'
complete -c jobctl -n __jobctl_no_verb -a why -d 'Say why jobs are in the state they are in: why one does not run, why it was restarted, what it waits for.'
complete -c jobctl -n __jobctl_no_verb -a events -d 'Show what happened to jobs and their runs, the oldest first.'
complete -c jobctl -n __jobctl_no_verb -a is-active -d 'Say whether jobs are active: 0 if at least one is, 3 if none is, 4 if none exists.'
complete -c jobctl -n __jobctl_no_verb -a is-failed -d 'Say whether jobs have failed: 0 if at least one has, 1 if none has, 4 if none exists.'
complete -c jobctl -n __jobctl_no_verb -a is-enabled -d 'Say whether jobs are started with jobd: 0 if at least one is, 1 if none is, 4 if none exists.'
complete -c jobctl -n __jobctl_no_verb -a list-job-files -d 'List the jobs that have a definition, where it is, and whether it is enabled.'
complete -c jobctl -n __jobctl_no_verb -a list-dependencies -d 'Show what jobs need: what is started with them.'
complete -c jobctl -n __jobctl_no_verb -a whoami -d 'Show the job that each process belongs to, one a line.'
complete -c jobctl -n __jobctl_no_verb -a wait -d 'Wait until the newest runs of jobs have ended, and exit as the first that failed did.'
complete -c jobctl -n __jobctl_no_verb -a add -d 'Add jobs from job files. The job\'s name is the file\'s, without .toml.'
complete -c jobctl -n __jobctl_no_verb -a rm -d 'Remove jobs: their definitions go, and their names are free again.'
complete -c jobctl -n __jobctl_no_verb -a enable -d 'Have jobs started with jobd.'
complete -c jobctl -n __jobctl_no_verb -a disable -d 'Have jobs not started with jobd any more.'
complete -c jobctl -n __jobctl_no_verb -a mask -d 'Have jobs not be started by anybody or anything.'
complete -c jobctl -n __jobctl_no_verb -a unmask -d 'Let jobs be started again.'
complete -c jobctl -n __jobctl_no_verb -a edit -d 'Change the definitions of jobs in an editor.'
complete -c jobctl -n __jobctl_no_verb -a revert -d 'Take the changes of jobs back: their drop-ins, and what stands before the file of a package.'
complete -c jobctl -n __jobctl_no_verb -a verify -d 'Say what is wrong with job files; no jobd is needed. Exits with 6 if anything is.'
complete -c jobctl -n __jobctl_no_verb -a daemon-reload -d 'Read jobd.toml and the job files again, and say what has changed.'
complete -c jobctl -n __jobctl_no_verb -a set-property -d 'Change settings of a job, also of one that runs.'
complete -c jobctl -n __jobctl_no_verb -a queue -d 'Look at queues, make and change them.'
complete -c jobctl -n __jobctl_no_verb -a cancel -d 'Take runs that wait out of their line: they never begin.'
complete -c jobctl -n __jobctl_no_verb -a hold -d 'Have runs that wait go on waiting until they are released. What stands behind them passes them.'
complete -c jobctl -n __jobctl_no_verb -a release -d 'Let runs that are held begin in their turn, from the places that they had.'
complete -c jobctl -n __jobctl_no_verb -a list-timers -d 'List what starts by the clock: jobs with a schedule, and runs that wait for their time.'
complete -c jobctl -n __jobctl_no_verb -a daemon-status -d 'Show the state of jobd: its processes, its places, what it tracks jobs with.'
complete -c jobctl -n __jobctl_no_verb -a daemon-reexec -d 'Replace the daemon by the code now on disk. Jobs run on; clients notice nothing.'
complete -c jobctl -n __jobctl_no_verb -a is-system-running -d 'Say in one word how jobd is: running, degraded, stopping or offline.'
complete -c jobctl -n __jobctl_no_verb -a shutdown -d 'Stop all jobs in order, keep what is queued, and end jobd.'
complete -c jobctl -n __jobctl_no_verb -a auth -d 'Show whom jobd takes you for, and what you may do.'
complete -c jobctl -n __jobctl_no_verb -a help -d 'Show help on a verb, or this.'
complete -c jobctl -n __jobctl_no_verb -a completion -d 'Print the completion script of a shell.'
complete -c jobctl -n __jobctl_no_command -l user -d 'Speak to your own jobd.'
complete -c jobctl -n __jobctl_no_command -l system -d 'Speak to the system\'s jobd.'
complete -c jobctl -n __jobctl_no_command -l socket -r -F -d 'Speak to the jobd at this socket.'
complete -c jobctl -n __jobctl_no_command -s H -l host -x -a '(__jobctl_hosts)' -d 'Speak to the jobd of this host, by ssh.'
complete -c jobctl -n __jobctl_no_command -l no-pager -d 'Write straight to the terminal.'

complete -c jobctl -n '__jobctl_verb run' -s u -l name -l unit -x -d 'The job\'s name. Default: COMMAND-N.'
complete -c jobctl -n '__jobctl_verb run' -l wait -d 'Wait for the end; exit with the job\'s status.'
complete -c jobctl -n '__jobctl_verb run' -s f -l follow -d 'Write what the job writes; exit with its status.'
complete -c jobctl -n '__jobctl_verb run' -s P -l pipe -d 'The job has this stdin, stdout and stderr; exit with its status.'
complete -c jobctl -n '__jobctl_verb run' -s t -l pty -d 'The job has a terminal, which this one becomes; exit with its status.'
complete -c jobctl -n '__jobctl_verb run' -s q -l quiet -d 'Do not print the job\'s name.'
complete -c jobctl -n '__jobctl_verb run' -s E -l setenv -x -a '(set -xn | string replace -r \$ =)' -d 'Set a variable, or take it along.'
complete -c jobctl -n '__jobctl_verb run' -l env -x -a '(__jobctl_list all none (set -xn))' -d 'Environment to take along: all (default), none, or names.'
complete -c jobctl -n '__jobctl_verb run' -s C -l working-directory -x -a '(__fish_complete_directories (__jobctl_typed))' -d 'The job\'s directory.'
complete -c jobctl -n '__jobctl_verb run' -l shell -d 'COMMAND is a script for /bin/sh -c.'
complete -c jobctl -n '__jobctl_verb run' -s p -l property -x -a 'description= environment_file= user= type=exec type=notify type=oneshot remain_after_exit=true remain_after_exit=false restart=no restart=on-success restart=on-failure restart=on-abnormal restart=on-abort restart=on-watchdog restart=always restart_delay= restart_max_delay= start_limit= success_exit_status= restart_prevent_exit_status= queue= priority= weight= essential=true essential=false after= before= requires= wants= binds_to= part_of= conflicts= on_failure= on_success= ready.tcp= ready.http= ready.unix= ready.log= ready.command= ready.delay= ready.timeout= health.tcp= health.http= health.unix= health.command= health.interval= health.timeout= health.failures= health.action=restart health.action=stop health.action=none stop.signal= stop.command= stop.timeout= stop.kill_mode=control-group stop.kill_mode=mixed stop.kill_mode=process reload.signal= reload.command= limits.memory= limits.cpu= limits.tasks= limits.nofile= limits.core= limits.nice= limits.oom_score_adjust= limits.runtime= limits.umask= logs.max_size= logs.merge_output=true logs.merge_output=false logs.on_full=block logs.on_full=drop logs.keep_runs= logs.keep_for= watchdog.interval=' -d 'Set a key, such as limits.runtime; for root also user.'
complete -c jobctl -n '__jobctl_verb run' -l queue -x -a '(__jobctl_queues)' -d 'Wait in this queue until it has a free slot.'
complete -c jobctl -n '__jobctl_verb run' -l priority -x -d 'Higher ones of yours begin first. Default: 0.'
complete -c jobctl -n '__jobctl_verb run' -l hold -d 'Let it wait until it is released.'
complete -c jobctl -n '__jobctl_verb run' -l after -x -a '(__jobctl_jobs runs)' -d 'Begin when this job\'s run has ended so. Default: :ok.'
complete -c jobctl -n '__jobctl_verb run' -l singleton -d 'With --name: wait while the job of this name runs.'
complete -c jobctl -n '__jobctl_verb run' -l at -x -a 'tomorrow' -d 'Begin at this time: 03:00, tomorrow 18:30, 2026-12-01 03:00.'
complete -c jobctl -n '__jobctl_verb run' -l in -x -d 'Begin after this time: 10min, 1h 30min.'
complete -c jobctl -n '__jobctl_verb run' -l array -x -d 'A run for each of these numbers, N at a time; %i in COMMAND is the number.'
complete -c jobctl -n '__jobctl_verb run' -s o -l output -x -a 'json json-pretty json-seq' -d 'json, json-pretty or json-seq.'

complete -c jobctl -n '__jobctl_verb rerun' -l wait -d 'Wait for the end; exit with the job\'s status.'
complete -c jobctl -n '__jobctl_verb rerun' -s f -l follow -d 'Write what the job writes; exit with its status.'
complete -c jobctl -n '__jobctl_verb rerun' -s P -l pipe -d 'The job has this stdin, stdout and stderr; exit with its status.'
complete -c jobctl -n '__jobctl_verb rerun' -s t -l pty -d 'The job has a terminal, which this one becomes; exit with its status.'
complete -c jobctl -n '__jobctl_verb rerun' -s q -l quiet -d 'Do not print the job\'s name.'
complete -c jobctl -n '__jobctl_verb rerun' -s o -l output -x -a 'json json-pretty json-seq' -d 'json, json-pretty or json-seq.'
complete -c jobctl -n '__jobctl_verb rerun' -a '(__jobctl_jobs runs)'

complete -c jobctl -n '__jobctl_verb attach' -l input -x -a 'same more none' -d 'This stdin: same, from its first byte; more, what follows; none.'
complete -c jobctl -n '__jobctl_verb attach' -s n -l lines -x -d 'Begin with the last N lines, or all.'
complete -c jobctl -n '__jobctl_verb attach' -a '(__jobctl_jobs live)'

complete -c jobctl -n '__jobctl_verb start' -l no-block -d 'Return at once.'
complete -c jobctl -n '__jobctl_verb start' -l wait -d 'Wait until the jobs have ended; 1 if one has failed.'
complete -c jobctl -n '__jobctl_verb start' -a '(__jobctl_jobs rest)'

complete -c jobctl -n '__jobctl_verb stop' -l no-block -d 'Return at once.'
complete -c jobctl -n '__jobctl_verb stop' -a '(__jobctl_jobs live)'

complete -c jobctl -n '__jobctl_verb restart' -l no-block -d 'Return at once.'
complete -c jobctl -n '__jobctl_verb restart' -a '(__jobctl_jobs any)'

complete -c jobctl -n '__jobctl_verb try-restart' -l no-block -d 'Return at once.'
complete -c jobctl -n '__jobctl_verb try-restart' -a '(__jobctl_jobs live)'

complete -c jobctl -n '__jobctl_verb reload' -l no-block -d 'Return at once.'
complete -c jobctl -n '__jobctl_verb reload' -a '(__jobctl_jobs reloads)'

complete -c jobctl -n '__jobctl_verb reload-or-restart' -l no-block -d 'Return at once.'
complete -c jobctl -n '__jobctl_verb reload-or-restart' -a '(__jobctl_jobs any)'

complete -c jobctl -n '__jobctl_verb kill' -s s -l signal -x -a 'SIGHUP SIGINT SIGQUIT SIGILL SIGTRAP SIGABRT SIGBUS SIGFPE SIGKILL SIGUSR1 SIGSEGV SIGUSR2 SIGPIPE SIGALRM SIGTERM SIGSTKFLT SIGCHLD SIGCONT SIGSTOP SIGTSTP SIGTTIN SIGTTOU SIGURG SIGXCPU SIGXFSZ SIGVTALRM SIGPROF SIGWINCH SIGIO SIGPWR SIGSYS' -d 'The signal. Default: SIGTERM.'
complete -c jobctl -n '__jobctl_verb kill' -l kill-whom -x -a 'all main control' -d 'all (default), main, or control: what stops, reloads or checks it.'
complete -c jobctl -n '__jobctl_verb kill' -a '(__jobctl_jobs live)'

complete -c jobctl -n '__jobctl_verb freeze' -a '(__jobctl_jobs live)'

complete -c jobctl -n '__jobctl_verb thaw' -a '(__jobctl_jobs frozen)'

complete -c jobctl -n '__jobctl_verb reset-failed' -a '(__jobctl_jobs failed)'

complete -c jobctl -n '__jobctl_verb list' -s a -l all -d 'Inactive jobs too.'
complete -c jobctl -n '__jobctl_verb list' -l state -x -a '(__jobctl_list active reloading inactive failed activating deactivating dead queued held start running exited reload frozen stop stop-watchdog stop-sigterm stop-sigkill final-sigterm final-sigkill auto-restart loaded not-found masked bad-setting help)' -d 'Only jobs with one of these as LOAD, ACTIVE or SUB.'
complete -c jobctl -n '__jobctl_verb list' -l failed -d 'The same as --state=failed.'
complete -c jobctl -n '__jobctl_verb list' -l queue -x -a '(__jobctl_queues)' -d 'Only those in this queue.'
complete -c jobctl -n '__jobctl_verb list' -s l -l full -d 'Do not cut lines to the width of the terminal.'
complete -c jobctl -n '__jobctl_verb list' -l plain -d 'No column for the bullet.'
complete -c jobctl -n '__jobctl_verb list' -l no-legend -d 'The same as --legend=no.'
complete -c jobctl -n '__jobctl_verb list' -l legend -x -a 'yes no' -d 'Whether there are a header and a footer.'
complete -c jobctl -n '__jobctl_verb list' -s t -l type -x -a 'service help' -d 'For hands used to systemctl: every job is a service.'
complete -c jobctl -n '__jobctl_verb list' -s q -l quiet -d 'Print no results, or no hints.'
complete -c jobctl -n '__jobctl_verb list' -s o -l output -x -a 'json json-pretty json-seq name' -d 'json, json-pretty, json-seq or name.'
complete -c jobctl -n '__jobctl_verb list' -a '(__jobctl_jobs any)'

complete -c jobctl -n '__jobctl_verb status' -s n -l lines -x -d 'So many lines of output. Default: 10.'
complete -c jobctl -n '__jobctl_verb status' -s l -l full -d 'Do not cut lines to the width of the terminal.'
complete -c jobctl -n '__jobctl_verb status' -s o -l output -x -a 'short short-iso short-iso-precise short-full short-unix short-precise short-monotonic cat verbose json json-pretty json-seq' -d 'Format of the output, as in logs.'
complete -c jobctl -n '__jobctl_verb status' -a '(__jobctl_jobs any)'

complete -c jobctl -n '__jobctl_verb show' -s p -l property -x -a '(__jobctl_list Id Names Description LoadState LoadError ActiveState SubState FreezerState Result FragmentPath DropInPaths UnitFileState Transient NeedDaemonReload MainPID ControlPID ExecMainPID ExecMainCode ExecMainStatus ExecMainSignal ExecMainErrno QueuedTimestamp ExecMainStartTimestamp ExecMainExitTimestamp ActiveEnterTimestamp InactiveEnterTimestamp StateChangeTimestamp NextRestartTimestamp InvocationID NRestarts StatusText StatusErrno Waits Cause Health Note Unenforced User Owner UID WorkingDirectory ExecStart Type Restart RestartUSec RemainAfterExit KillSignal KillMode TimeoutStopUSec RuntimeMaxUSec WatchdogUSec CPUUsageNSec MemoryCurrent MemoryPeak TasksCurrent TasksPeak IOReadBytes IOWriteBytes StdoutBytes StderrBytes OOMScoreAdjust MemoryMax TasksMax CPUQuotaPerSecUSec Nice Queue QueuePosition Priority Weight Held NotBeforeTimestamp WaitsFor TimersCalendar NextElapseUSecRealtime LastTriggerUSec Requires RequiredBy Wants WantedBy BindsTo BoundBy PartOf ConsistsOf Conflicts ConflictedBy Before After OnFailure OnFailureOf OnSuccess OnSuccessOf ControlGroup CanStart CanStop CanReload Run Runs Tracking)' -d 'Only these properties.'
complete -c jobctl -n '__jobctl_verb show' -s P -x -a '(__jobctl_list Id Names Description LoadState LoadError ActiveState SubState FreezerState Result FragmentPath DropInPaths UnitFileState Transient NeedDaemonReload MainPID ControlPID ExecMainPID ExecMainCode ExecMainStatus ExecMainSignal ExecMainErrno QueuedTimestamp ExecMainStartTimestamp ExecMainExitTimestamp ActiveEnterTimestamp InactiveEnterTimestamp StateChangeTimestamp NextRestartTimestamp InvocationID NRestarts StatusText StatusErrno Waits Cause Health Note Unenforced User Owner UID WorkingDirectory ExecStart Type Restart RestartUSec RemainAfterExit KillSignal KillMode TimeoutStopUSec RuntimeMaxUSec WatchdogUSec CPUUsageNSec MemoryCurrent MemoryPeak TasksCurrent TasksPeak IOReadBytes IOWriteBytes StdoutBytes StderrBytes OOMScoreAdjust MemoryMax TasksMax CPUQuotaPerSecUSec Nice Queue QueuePosition Priority Weight Held NotBeforeTimestamp WaitsFor TimersCalendar NextElapseUSecRealtime LastTriggerUSec Requires RequiredBy Wants WantedBy BindsTo BoundBy PartOf ConsistsOf Conflicts ConflictedBy Before After OnFailure OnFailureOf OnSuccess OnSuccessOf ControlGroup CanStart CanStop CanReload Run Runs Tracking)' -d 'The same as --value --property=NAME.'
complete -c jobctl -n '__jobctl_verb show' -l value -d 'Only the values.'
complete -c jobctl -n '__jobctl_verb show' -s a -l all -d 'Properties that are not set, too.'
complete -c jobctl -n '__jobctl_verb show' -s o -l output -x -a 'json json-pretty json-seq' -d 'json, json-pretty or json-seq.'
complete -c jobctl -n '__jobctl_verb show' -a '(__jobctl_jobs any)'

complete -c jobctl -n '__jobctl_verb cat' -s o -l output -x -a 'json json-pretty json-seq' -d 'json, json-pretty or json-seq.'
complete -c jobctl -n '__jobctl_verb cat' -a '(__jobctl_jobs any)'

complete -c jobctl -n '__jobctl_verb logs' -s u -l unit -l job -x -a '(__jobctl_jobs runs)' -d 'The same as an operand.'
complete -c jobctl -n '__jobctl_verb logs' -s f -l follow -d 'Go on with new output until the job is at rest.'
complete -c jobctl -n '__jobctl_verb logs' -s n -l lines -x -d 'Only the last N lines, or all.'
complete -c jobctl -n '__jobctl_verb logs' -s r -l reverse -d 'The newest line first.'
complete -c jobctl -n '__jobctl_verb logs' -s S -l since -x -a 'today yesterday now' -d 'Not before this time.'
complete -c jobctl -n '__jobctl_verb logs' -s U -l until -x -a 'today yesterday now' -d 'Not after this time.'
complete -c jobctl -n '__jobctl_verb logs' -s g -l grep -x -d 'Only lines that match; all in lower case, capitals too.'
complete -c jobctl -n '__jobctl_verb logs' -l stdout -d 'Only what was written to stdout.'
complete -c jobctl -n '__jobctl_verb logs' -l stderr -d 'Only what was written to stderr.'
complete -c jobctl -n '__jobctl_verb logs' -l run -x -a '(__jobctl_numbers)' -d 'Which run: 0 the newest, -1, N, an id; all.'
complete -c jobctl -n '__jobctl_verb logs' -s o -l output -x -a 'short short-iso short-iso-precise short-full short-unix short-precise short-monotonic cat verbose json json-pretty json-seq' -d 'short, short-full, short-iso, short-iso-precise, short-precise, short-monotonic, short-unix, cat, verbose, json, json-pretty or json-seq.'
complete -c jobctl -n '__jobctl_verb logs' -l raw -d 'Exact bytes on a terminal, too.'
complete -c jobctl -n '__jobctl_verb logs' -l cursor-file -r -F -d 'Go on from where FILE says; note the end there.'
complete -c jobctl -n '__jobctl_verb logs' -s e -l pager-end -d 'Begin at the end, in the pager; implies -n 1000.'
complete -c jobctl -n '__jobctl_verb logs' -s x -l catalog -d 'For hands used to journalctl: there are no explanations.'
complete -c jobctl -n '__jobctl_verb logs' -a '(__jobctl_jobs runs)'

complete -c jobctl -n '__jobctl_verb result' -l run -x -a '(__jobctl_numbers)' -d 'Which run: 0 the newest, -1, N, an id; all.'
complete -c jobctl -n '__jobctl_verb result' -s l -l full -d 'All of the output, however much it is.'
complete -c jobctl -n '__jobctl_verb result' -s o -l output -x -a 'json json-pretty json-seq' -d 'json, json-pretty or json-seq.'
complete -c jobctl -n '__jobctl_verb result' -a '(__jobctl_jobs runs)'

complete -c jobctl -n '__jobctl_verb history' -s u -l unit -l job -x -a '(__jobctl_jobs runs)' -d 'The same as an operand.'
complete -c jobctl -n '__jobctl_verb history' -l audit -d 'What was asked for, by whom: acts in place of runs.'
complete -c jobctl -n '__jobctl_verb history' -l stats -d 'Of each job: how often it ran, how well, how long.'
complete -c jobctl -n '__jobctl_verb history' -s n -l limit -l lines -x -d 'So many runs, or all. Default: 100.'
complete -c jobctl -n '__jobctl_verb history' -l offset -x -d 'Leave out the newest so many.'
complete -c jobctl -n '__jobctl_verb history' -l after-cursor -x -d 'Go on behind this one, with older ones.'
complete -c jobctl -n '__jobctl_verb history' -l state -x -a '(__jobctl_list queued starting running stopping finished success exit-code signal core-dump timeout protocol watchdog oom-kill start-limit-hit start-failed dependency stopped canceled lost failed help)' -d 'Only runs with these states or results.'
complete -c jobctl -n '__jobctl_verb history' -l queue -x -a '(__jobctl_queues)' -d 'Only those in this queue.'
complete -c jobctl -n '__jobctl_verb history' -s S -l since -x -a 'today yesterday now' -d 'Not before this time.'
complete -c jobctl -n '__jobctl_verb history' -s U -l until -x -a 'today yesterday now' -d 'Not after this time.'
complete -c jobctl -n '__jobctl_verb history' -s l -l full -d 'Do not cut lines to the width of the terminal.'
complete -c jobctl -n '__jobctl_verb history' -l no-legend -d 'The same as --legend=no.'
complete -c jobctl -n '__jobctl_verb history' -s o -l output -x -a 'json json-pretty json-seq' -d 'json, json-pretty or json-seq.'
complete -c jobctl -n '__jobctl_verb history' -a '(__jobctl_jobs any)'

complete -c jobctl -n '__jobctl_verb why' -s o -l output -x -a 'json json-pretty json-seq' -d 'json, json-pretty or json-seq.'
complete -c jobctl -n '__jobctl_verb why' -a '(__jobctl_jobs any)'

complete -c jobctl -n '__jobctl_verb events' -s u -l unit -l job -x -a '(__jobctl_jobs runs)' -d 'The same as an operand.'
complete -c jobctl -n '__jobctl_verb events' -s f -l follow -d 'Go on with changes as they come.'
complete -c jobctl -n '__jobctl_verb events' -s n -l lines -x -d 'Only the last N, or all. Default: all; with -f, 10.'
complete -c jobctl -n '__jobctl_verb events' -s S -l since -x -a 'today yesterday now' -d 'Not before this time.'
complete -c jobctl -n '__jobctl_verb events' -s U -l until -x -a 'today yesterday now' -d 'Not after this time.'
complete -c jobctl -n '__jobctl_verb events' -l after-cursor -x -d 'Only changes behind this one.'
complete -c jobctl -n '__jobctl_verb events' -l cursor-file -r -F -d 'Go on from where FILE says; note the end there.'
complete -c jobctl -n '__jobctl_verb events' -l show-cursor -d 'At the end, the cursor of the last one.'
complete -c jobctl -n '__jobctl_verb events' -s o -l output -x -a 'short short-iso cat json json-pretty json-seq' -d 'short, short-iso, cat, json, json-pretty or json-seq.'
complete -c jobctl -n '__jobctl_verb events' -s q -l quiet -d 'Print no results, or no hints.'
complete -c jobctl -n '__jobctl_verb events' -a '(__jobctl_jobs any)'

complete -c jobctl -n '__jobctl_verb is-active' -s q -l quiet -d 'Print no results, or no hints.'
complete -c jobctl -n '__jobctl_verb is-active' -s o -l output -x -a 'json json-pretty json-seq' -d 'json, json-pretty or json-seq.'
complete -c jobctl -n '__jobctl_verb is-active' -a '(__jobctl_jobs any)'

complete -c jobctl -n '__jobctl_verb is-failed' -s q -l quiet -d 'Print no results, or no hints.'
complete -c jobctl -n '__jobctl_verb is-failed' -s o -l output -x -a 'json json-pretty json-seq' -d 'json, json-pretty or json-seq.'
complete -c jobctl -n '__jobctl_verb is-failed' -a '(__jobctl_jobs any)'

complete -c jobctl -n '__jobctl_verb is-enabled' -s q -l quiet -d 'Print no results, or no hints.'
complete -c jobctl -n '__jobctl_verb is-enabled' -s o -l output -x -a 'json json-pretty json-seq' -d 'json, json-pretty or json-seq.'
complete -c jobctl -n '__jobctl_verb is-enabled' -a '(__jobctl_jobs any)'

complete -c jobctl -n '__jobctl_verb list-job-files' -l state -x -a '(__jobctl_list enabled disabled static masked bad help)' -d 'Only those that are enabled, masked …'
complete -c jobctl -n '__jobctl_verb list-job-files' -s l -l full -d 'Do not cut lines to the width of the terminal.'
complete -c jobctl -n '__jobctl_verb list-job-files' -l no-legend -d 'The same as --legend=no.'
complete -c jobctl -n '__jobctl_verb list-job-files' -s q -l quiet -d 'Print no results, or no hints.'
complete -c jobctl -n '__jobctl_verb list-job-files' -s o -l output -x -a 'json json-pretty json-seq name' -d 'json, json-pretty, json-seq or name.'
complete -c jobctl -n '__jobctl_verb list-job-files' -a '(__jobctl_jobs any)'

complete -c jobctl -n '__jobctl_verb list-dependencies' -s r -l reverse -d 'Who needs them; with --after or --before, the other way round.'
complete -c jobctl -n '__jobctl_verb list-dependencies' -l after -d 'What they come after, in place of what they need.'
complete -c jobctl -n '__jobctl_verb list-dependencies' -l before -d 'What comes after them.'
complete -c jobctl -n '__jobctl_verb list-dependencies' -l plain -d 'A list in place of a tree, and no bullets.'
complete -c jobctl -n '__jobctl_verb list-dependencies' -s a -l all -d 'Unfold a job wherever it comes.'
complete -c jobctl -n '__jobctl_verb list-dependencies' -s o -l output -x -a 'json json-pretty json-seq' -d 'json, json-pretty or json-seq.'
complete -c jobctl -n '__jobctl_verb list-dependencies' -a '(__jobctl_jobs any)'

complete -c jobctl -n '__jobctl_verb whoami' -s o -l output -x -a 'json json-pretty json-seq' -d 'json, json-pretty or json-seq.'
complete -c jobctl -n '__jobctl_verb whoami'

complete -c jobctl -n '__jobctl_verb wait' -l any -d 'Return when the first of them has ended, and print its name.'
complete -c jobctl -n '__jobctl_verb wait' -l queue -x -a '(__jobctl_queues)' -d 'All that is in this queue now.'
complete -c jobctl -n '__jobctl_verb wait' -l timeout -x -d 'Give up after this time, with status 124.'
complete -c jobctl -n '__jobctl_verb wait' -s o -l output -x -a 'json json-pretty json-seq' -d 'json, json-pretty or json-seq.'
complete -c jobctl -n '__jobctl_verb wait' -a '(__jobctl_jobs live)'

complete -c jobctl -n '__jobctl_verb add' -s u -l name -l unit -x -d 'The job\'s name. Default: the file\'s, without .toml.'
complete -c jobctl -n '__jobctl_verb add' -l enable -d 'Enable them, too.'
complete -c jobctl -n '__jobctl_verb add' -l now -d 'Start them, too.'
complete -c jobctl -n '__jobctl_verb add' -l replace -d 'In place of another definition that is there.'
complete -c jobctl -n '__jobctl_verb add' -F

complete -c jobctl -n '__jobctl_verb rm' -l now -d 'Stop what runs first; cancel what is queued.'
complete -c jobctl -n '__jobctl_verb rm' -l purge -d 'Their runs and logs too.'
complete -c jobctl -n '__jobctl_verb rm' -a '(__jobctl_jobs any)'

complete -c jobctl -n '__jobctl_verb enable' -l now -d 'Start them, too.'
complete -c jobctl -n '__jobctl_verb enable' -l no-block -d 'With --now: return at once.'
complete -c jobctl -n '__jobctl_verb enable' -a '(__jobctl_jobs disabled)'

complete -c jobctl -n '__jobctl_verb disable' -l now -d 'Stop them, too.'
complete -c jobctl -n '__jobctl_verb disable' -l no-block -d 'With --now: return at once.'
complete -c jobctl -n '__jobctl_verb disable' -a '(__jobctl_jobs enabled)'

complete -c jobctl -n '__jobctl_verb mask' -l now -d 'Stop them, too.'
complete -c jobctl -n '__jobctl_verb mask' -l no-block -d 'With --now: return at once.'
complete -c jobctl -n '__jobctl_verb mask' -a '(__jobctl_jobs any)'

complete -c jobctl -n '__jobctl_verb unmask' -a '(__jobctl_jobs masked)'

complete -c jobctl -n '__jobctl_verb edit' -s l -l full -d 'The whole job file, and not a drop-in.'
complete -c jobctl -n '__jobctl_verb edit' -l drop-in -x -d 'A drop-in of this name. Default: override.'
complete -c jobctl -n '__jobctl_verb edit' -l stdin -d 'Take the text from standard input, without an editor.'
complete -c jobctl -n '__jobctl_verb edit' -a '(__jobctl_jobs files)'

complete -c jobctl -n '__jobctl_verb revert' -a '(__jobctl_jobs files)'

complete -c jobctl -n '__jobctl_verb verify' -l calendar -x -a 'minutely hourly daily weekly monthly quarterly yearly' -d 'What this expression means, and its next five times.'
complete -c jobctl -n '__jobctl_verb verify' -s q -l quiet -d 'Print no results, or no hints.'
complete -c jobctl -n '__jobctl_verb verify' -s o -l output -x -a 'json json-pretty json-seq' -d 'json, json-pretty or json-seq.'
complete -c jobctl -n '__jobctl_verb verify' -F

complete -c jobctl -n '__jobctl_verb daemon-reload' -l dry-run -d 'Say what would change, and change nothing.'
complete -c jobctl -n '__jobctl_verb daemon-reload' -s o -l output -x -a 'json json-pretty json-seq' -d 'json, json-pretty or json-seq.'

complete -c jobctl -n '__jobctl_verb set-property' -s q -l quiet -d 'Print no results, or no hints.'
complete -c jobctl -n '__jobctl_first set-property' -a '(__jobctl_jobs any)'
complete -c jobctl -n '__jobctl_behind set-property' -a 'description= restart=no restart=on-success restart=on-failure restart=on-abnormal restart=on-abort restart=on-watchdog restart=always restart_delay= restart_max_delay= start_limit= success_exit_status= restart_prevent_exit_status= stop.signal= stop.timeout= stop.kill_mode=control-group stop.kill_mode=mixed stop.kill_mode=process limits.runtime= logs.keep_runs= logs.keep_for= limits.memory= limits.cpu= limits.tasks= limits.nofile= limits.core= limits.oom_score_adjust= limits.nice= logs.max_size= logs.on_full=block logs.on_full=drop ready.timeout= remain_after_exit=true remain_after_exit=false watchdog.interval= queue= priority= weight='

complete -c jobctl -n '__jobctl_verb queue' -s a -l all -d 'Those of others, too.'
complete -c jobctl -n '__jobctl_verb queue' -l shared -d 'Of add: for everybody\'s jobs; for administrators.'
complete -c jobctl -n '__jobctl_verb queue' -s l -l full -d 'Do not cut lines to the width of the terminal.'
complete -c jobctl -n '__jobctl_verb queue' -l no-legend -d 'The same as --legend=no.'
complete -c jobctl -n '__jobctl_verb queue' -s o -l output -x -a 'json json-pretty json-seq name' -d 'json, json-pretty, json-seq or name.'
complete -c jobctl -n '__jobctl_first queue' -a 'list show add set rm pause resume drain switch'

complete -c jobctl -n '__jobctl_verb cancel' -a '(__jobctl_jobs waiting)'

complete -c jobctl -n '__jobctl_verb hold' -a '(__jobctl_jobs waiting)'

complete -c jobctl -n '__jobctl_verb release' -a '(__jobctl_jobs held)'

complete -c jobctl -n '__jobctl_verb list-timers' -s a -l all -d 'Those of jobs that are not enabled, too.'
complete -c jobctl -n '__jobctl_verb list-timers' -s l -l full -d 'Do not cut lines to the width of the terminal.'
complete -c jobctl -n '__jobctl_verb list-timers' -l no-legend -d 'The same as --legend=no.'
complete -c jobctl -n '__jobctl_verb list-timers' -s o -l output -x -a 'json json-pretty json-seq name' -d 'json, json-pretty, json-seq or name.'
complete -c jobctl -n '__jobctl_verb list-timers' -a '(__jobctl_jobs any)'

complete -c jobctl -n '__jobctl_verb daemon-status' -s o -l output -x -a 'json json-pretty json-seq' -d 'json, json-pretty or json-seq.'

complete -c jobctl -n '__jobctl_verb daemon-reexec' -l keeper -d 'The keeper, in place.'

complete -c jobctl -n '__jobctl_verb is-system-running' -s q -l quiet -d 'Only the exit status.'

complete -c jobctl -n '__jobctl_verb shutdown' -l no-block -d 'Return at once.'

complete -c jobctl -n '__jobctl_verb auth' -l as -x -a '(__fish_complete_users)' -d 'Ask about this user; for administrators.'
complete -c jobctl -n '__jobctl_verb auth' -s q -l quiet -d 'Only the exit status.'
complete -c jobctl -n '__jobctl_verb auth' -s o -l output -x -a 'json json-pretty json-seq' -d 'json, json-pretty or json-seq.'
complete -c jobctl -n '__jobctl_first auth' -a 'whoami can-i rules'

complete -c jobctl -n '__jobctl_verb help' -a 'run rerun attach start stop restart try-restart reload reload-or-restart kill freeze thaw reset-failed list status show cat logs result history why events is-active is-failed is-enabled list-job-files list-dependencies whoami wait add rm enable disable mask unmask edit revert verify daemon-reload set-property queue cancel hold release list-timers daemon-status daemon-reexec is-system-running shutdown auth help completion'

complete -c jobctl -n '__jobctl_first completion' -a 'bash zsh fish'
# --- end of the words ---
