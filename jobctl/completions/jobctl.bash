# Completion of jobctl(1) for bash 4.2 and newer; bash-completion is used where it is there, and not needed.
# shellcheck shell=bash

# --- words: made by python -m jobctl.completions.generate ---
__jobctl_verbs='run rerun attach start stop restart try-restart reload reload-or-restart kill freeze thaw reset-failed list status show cat logs result history why events is-active is-failed is-enabled list-job-files list-dependencies whoami wait add rm enable disable mask unmask edit revert verify daemon-reload set-property queue cancel hold release list-timers daemon-status daemon-reexec is-system-running shutdown auth help completion'
__jobctl_globals='--user --system --socket:file -H:hosts --host:hosts --no-pager'

# Sets options, each with the kind of its value behind a colon, and operands, their kind.
__jobctl_verb() {
    case $1 in
    run)
        operands='command'
        options='-u:text --name:text --unit:text --wait -f --follow -P --pipe -t --pty -q --quiet -E:variable --setenv:variable --env:variables -C:directory --working-directory:directory --shell -p:Settings --property:Settings --queue:queues --priority:text --hold --after:jobs.runs --singleton --at:StartAt --in:text --array:text -o:JsonOutput --output:JsonOutput'
        ;;
    rerun)
        operands='jobs.runs'
        options='--wait -f --follow -P --pipe -t --pty -q --quiet -o:JsonOutput --output:JsonOutput'
        ;;
    attach)
        operands='jobs.live'
        options='--input:InputMode -n:text --lines:text'
        ;;
    start)
        operands='jobs.rest'
        options='--no-block --wait'
        ;;
    stop)
        operands='jobs.live'
        options='--no-block'
        ;;
    restart)
        operands='jobs.any'
        options='--no-block'
        ;;
    try-restart)
        operands='jobs.live'
        options='--no-block'
        ;;
    reload)
        operands='jobs.reloads'
        options='--no-block'
        ;;
    reload-or-restart)
        operands='jobs.any'
        options='--no-block'
        ;;
    kill)
        operands='jobs.live'
        options='-s:Signal --signal:Signal --kill-whom:KillWhom'
        ;;
    freeze)
        operands='jobs.live'
        options=''
        ;;
    thaw)
        operands='jobs.frozen'
        options=''
        ;;
    reset-failed)
        operands='jobs.failed'
        options=''
        ;;
    list)
        operands='jobs.any'
        options='-a --all --state:States --failed --queue:queues -l --full --plain --no-legend --legend:Legend -t:JobTypes --type:JobTypes -q --quiet -o:ListOutput --output:ListOutput'
        ;;
    status)
        operands='jobs.any'
        options='-n:text --lines:text -l --full -o:StatusOutput --output:StatusOutput'
        ;;
    show)
        operands='jobs.any'
        options='-p:Properties --property:Properties -P:ValueOf --value -a --all -o:JsonOutput --output:JsonOutput'
        ;;
    cat)
        operands='jobs.any'
        options='-o:JsonOutput --output:JsonOutput'
        ;;
    logs)
        operands='jobs.runs'
        options='-u:jobs.runs --unit:jobs.runs --job:jobs.runs -f --follow -n:text --lines:text -r --reverse -S:Since --since:Since -U:Until --until:Until -g:text --grep:text --stdout --stderr --run:number -o:LogOutput --output:LogOutput --raw --cursor-file:file -e --pager-end -x --catalog'
        ;;
    result)
        operands='jobs.runs'
        options='--run:number -l --full -o:JsonOutput --output:JsonOutput'
        ;;
    history)
        operands='jobs.any'
        options='-u:jobs.runs --unit:jobs.runs --job:jobs.runs --audit --stats -n:text --limit:text --lines:text --offset:text --after-cursor:text --state:RunStates --queue:queues -S:Since --since:Since -U:Until --until:Until -l --full --no-legend -o:JsonOutput --output:JsonOutput'
        ;;
    why)
        operands='jobs.any'
        options='-o:JsonOutput --output:JsonOutput'
        ;;
    events)
        operands='jobs.any'
        options='-u:jobs.runs --unit:jobs.runs --job:jobs.runs -f --follow -n:text --lines:text -S:Since --since:Since -U:Until --until:Until --after-cursor:text --cursor-file:file --show-cursor -o:ChangeOutput --output:ChangeOutput -q --quiet'
        ;;
    is-active)
        operands='jobs.any'
        options='-q --quiet -o:JsonOutput --output:JsonOutput'
        ;;
    is-failed)
        operands='jobs.any'
        options='-q --quiet -o:JsonOutput --output:JsonOutput'
        ;;
    is-enabled)
        operands='jobs.any'
        options='-q --quiet -o:JsonOutput --output:JsonOutput'
        ;;
    list-job-files)
        operands='jobs.any'
        options='--state:FileStates -l --full --no-legend -q --quiet -o:ListOutput --output:ListOutput'
        ;;
    list-dependencies)
        operands='jobs.any'
        options='-r --reverse --after --before --plain -a --all -o:JsonOutput --output:JsonOutput'
        ;;
    whoami)
        operands='text'
        options='-o:JsonOutput --output:JsonOutput'
        ;;
    wait)
        operands='jobs.live'
        options='--any --queue:queues --timeout:text -o:JsonOutput --output:JsonOutput'
        ;;
    add)
        operands='file'
        options='-u:text --name:text --unit:text --enable --now --replace'
        ;;
    rm)
        operands='jobs.any'
        options='--now --purge'
        ;;
    enable)
        operands='jobs.disabled'
        options='--now --no-block'
        ;;
    disable)
        operands='jobs.enabled'
        options='--now --no-block'
        ;;
    mask)
        operands='jobs.any'
        options='--now --no-block'
        ;;
    unmask)
        operands='jobs.masked'
        options=''
        ;;
    edit)
        operands='jobs.files'
        options='-l --full --drop-in:text --stdin'
        ;;
    revert)
        operands='jobs.files'
        options=''
        ;;
    verify)
        operands='file'
        options='--calendar:CalendarText -q --quiet -o:JsonOutput --output:JsonOutput'
        ;;
    daemon-reload)
        operands=''
        options='--dry-run -o:JsonOutput --output:JsonOutput'
        ;;
    set-property)
        operands='JobSettings'
        options='-q --quiet'
        ;;
    queue)
        operands='QueueWords'
        options='-a --all --shared -l --full --no-legend -o:ListOutput --output:ListOutput'
        ;;
    cancel)
        operands='jobs.waiting'
        options=''
        ;;
    hold)
        operands='jobs.waiting'
        options=''
        ;;
    release)
        operands='jobs.held'
        options=''
        ;;
    list-timers)
        operands='jobs.any'
        options='-a --all -l --full --no-legend -o:ListOutput --output:ListOutput'
        ;;
    daemon-status)
        operands=''
        options='-o:JsonOutput --output:JsonOutput'
        ;;
    daemon-reexec)
        operands=''
        options='--keeper'
        ;;
    is-system-running)
        operands=''
        options='-q --quiet'
        ;;
    shutdown)
        operands=''
        options='--no-block'
        ;;
    auth)
        operands='AuthVerb'
        options='--as:users -q --quiet -o:JsonOutput --output:JsonOutput'
        ;;
    help)
        operands='verb'
        options=''
        ;;
    completion)
        operands='ShellName'
        options=''
        ;;
    *) operands='' options='' ;;
    esac
}

# Sets set, the words of a kind that is closed, and commas, which is 1 if several may be given.
__jobctl_set() {
    case $1 in
    AuthVerb)
        set='whoami can-i rules' commas=0
        ;;
    JobSettings)
        set='description= restart=no restart=on-success restart=on-failure restart=on-abnormal restart=on-abort restart=on-watchdog restart=always restart_delay= restart_max_delay= start_limit= success_exit_status= restart_prevent_exit_status= stop.signal= stop.timeout= stop.kill_mode=control-group stop.kill_mode=mixed stop.kill_mode=process limits.runtime= logs.keep_runs= logs.keep_for= limits.memory= limits.cpu= limits.tasks= limits.nofile= limits.core= limits.oom_score_adjust= limits.nice= logs.max_size= logs.on_full=block logs.on_full=drop ready.timeout= remain_after_exit=true remain_after_exit=false watchdog.interval= queue= priority= weight=' commas=0
        ;;
    QueueWords)
        set='list show add set rm pause resume drain switch' commas=0
        ;;
    ShellName)
        set='bash zsh fish' commas=0
        ;;
    CalendarText)
        set='minutely hourly daily weekly monthly quarterly yearly' commas=0
        ;;
    ChangeOutput)
        set='short short-iso cat json json-pretty json-seq' commas=0
        ;;
    FileStates)
        set='enabled disabled static masked bad help' commas=1
        ;;
    InputMode)
        set='same more none' commas=0
        ;;
    JobTypes)
        set='service help' commas=0
        ;;
    JsonOutput)
        set='json json-pretty json-seq' commas=0
        ;;
    KillWhom)
        set='all main control' commas=0
        ;;
    Legend)
        set='yes no' commas=0
        ;;
    ListOutput)
        set='json json-pretty json-seq name' commas=0
        ;;
    LogOutput)
        set='short short-iso short-iso-precise short-full short-unix short-precise short-monotonic cat verbose json json-pretty json-seq' commas=0
        ;;
    Properties)
        set='Id Names Description LoadState LoadError ActiveState SubState FreezerState Result FragmentPath DropInPaths UnitFileState Transient NeedDaemonReload MainPID ControlPID ExecMainPID ExecMainCode ExecMainStatus ExecMainSignal ExecMainErrno QueuedTimestamp ExecMainStartTimestamp ExecMainExitTimestamp ActiveEnterTimestamp InactiveEnterTimestamp StateChangeTimestamp NextRestartTimestamp InvocationID NRestarts StatusText StatusErrno Waits Cause Health Note Unenforced User Owner UID WorkingDirectory ExecStart Type Restart RestartUSec RemainAfterExit KillSignal KillMode TimeoutStopUSec RuntimeMaxUSec WatchdogUSec CPUUsageNSec MemoryCurrent MemoryPeak TasksCurrent TasksPeak IOReadBytes IOWriteBytes StdoutBytes StderrBytes OOMScoreAdjust MemoryMax TasksMax CPUQuotaPerSecUSec Nice Queue QueuePosition Priority Weight Held NotBeforeTimestamp WaitsFor TimersCalendar NextElapseUSecRealtime LastTriggerUSec Requires RequiredBy Wants WantedBy BindsTo BoundBy PartOf ConsistsOf Conflicts ConflictedBy Before After OnFailure OnFailureOf OnSuccess OnSuccessOf ControlGroup CanStart CanStop CanReload Run Runs Tracking' commas=1
        ;;
    RunStates)
        set='queued starting running stopping finished success exit-code signal core-dump timeout protocol watchdog oom-kill start-limit-hit start-failed dependency stopped canceled lost failed help' commas=1
        ;;
    Settings)
        set='description= environment_file= user= type=exec type=notify type=oneshot remain_after_exit=true remain_after_exit=false restart=no restart=on-success restart=on-failure restart=on-abnormal restart=on-abort restart=on-watchdog restart=always restart_delay= restart_max_delay= start_limit= success_exit_status= restart_prevent_exit_status= queue= priority= weight= essential=true essential=false after= before= requires= wants= binds_to= part_of= conflicts= on_failure= on_success= ready.tcp= ready.http= ready.unix= ready.log= ready.command= ready.delay= ready.timeout= health.tcp= health.http= health.unix= health.command= health.interval= health.timeout= health.failures= health.action=restart health.action=stop health.action=none stop.signal= stop.command= stop.timeout= stop.kill_mode=control-group stop.kill_mode=mixed stop.kill_mode=process reload.signal= reload.command= limits.memory= limits.cpu= limits.tasks= limits.nofile= limits.core= limits.nice= limits.oom_score_adjust= limits.runtime= limits.umask= logs.max_size= logs.merge_output=true logs.merge_output=false logs.on_full=block logs.on_full=drop logs.keep_runs= logs.keep_for= watchdog.interval=' commas=0
        ;;
    Signal)
        set='SIGHUP SIGINT SIGQUIT SIGILL SIGTRAP SIGABRT SIGBUS SIGFPE SIGKILL SIGUSR1 SIGSEGV SIGUSR2 SIGPIPE SIGALRM SIGTERM SIGSTKFLT SIGCHLD SIGCONT SIGSTOP SIGTSTP SIGTTIN SIGTTOU SIGURG SIGXCPU SIGXFSZ SIGVTALRM SIGPROF SIGWINCH SIGIO SIGPWR SIGSYS' commas=0
        ;;
    Since)
        set='today yesterday now' commas=0
        ;;
    StartAt)
        set='tomorrow' commas=0
        ;;
    States)
        set='active reloading inactive failed activating deactivating dead queued held start running exited reload frozen stop stop-watchdog stop-sigterm stop-sigkill final-sigterm final-sigkill auto-restart loaded not-found masked bad-setting help' commas=1
        ;;
    StatusOutput)
        set='short short-iso short-iso-precise short-full short-unix short-precise short-monotonic cat verbose json json-pretty json-seq' commas=0
        ;;
    Until)
        set='today yesterday now' commas=0
        ;;
    ValueOf)
        set='Id Names Description LoadState LoadError ActiveState SubState FreezerState Result FragmentPath DropInPaths UnitFileState Transient NeedDaemonReload MainPID ControlPID ExecMainPID ExecMainCode ExecMainStatus ExecMainSignal ExecMainErrno QueuedTimestamp ExecMainStartTimestamp ExecMainExitTimestamp ActiveEnterTimestamp InactiveEnterTimestamp StateChangeTimestamp NextRestartTimestamp InvocationID NRestarts StatusText StatusErrno Waits Cause Health Note Unenforced User Owner UID WorkingDirectory ExecStart Type Restart RestartUSec RemainAfterExit KillSignal KillMode TimeoutStopUSec RuntimeMaxUSec WatchdogUSec CPUUsageNSec MemoryCurrent MemoryPeak TasksCurrent TasksPeak IOReadBytes IOWriteBytes StdoutBytes StderrBytes OOMScoreAdjust MemoryMax TasksMax CPUQuotaPerSecUSec Nice Queue QueuePosition Priority Weight Held NotBeforeTimestamp WaitsFor TimersCalendar NextElapseUSecRealtime LastTriggerUSec Requires RequiredBy Wants WantedBy BindsTo BoundBy PartOf ConsistsOf Conflicts ConflictedBy Before After OnFailure OnFailureOf OnSuccess OnSuccessOf ControlGroup CanStart CanStop CanReload Run Runs Tracking' commas=1
        ;;
    *) set='' commas=0 ;;
    esac
}
# --- end of the words ---

# Names from the daemon: `jobctl __complete KIND ARG... PREFIX`, asked of the daemon that the line names. It waits a
# second at most, starts nothing, and what it prints is checked again: it goes into a command line.
__jobctl_ask() {
    local name
    while IFS=$'\t' read -r name _; do
        [[ $name == *[!A-Za-z0-9_.@/#-]* ]] || __jobctl_offer "$name"
    done < <("$program" ${target[@]+"${target[@]}"} __complete "$@" 2>/dev/null </dev/null)
}

# Offers the words that begin with what is typed. bash replaces only what stands behind the last of its
# COMP_WORDBREAKS (in --socket=/s the /s, in web@1 the 1), so the rest is taken off.
__jobctl_offer() {
    local word
    for word; do
        [[ $word == "$typed"* ]] || continue
        word=$lead$word
        COMPREPLY+=("${word#"$kept"}")
    done
}

# As __jobctl_offer, for one more word behind a comma.
__jobctl_offer_list() {
    local lead=$lead typed=$typed
    if [[ $typed == *,* ]]; then
        lead+=${typed%,*},
        typed=${typed##*,}
    fi
    __jobctl_offer "$@"
}

__jobctl_offer_files() { # -f or -d
    local path
    compopt -o filenames 2>/dev/null
    while IFS= read -r path; do
        path=$lead$path
        COMPREPLY+=("${path#"$kept"}")
    done < <(compgen "$1" -- "$typed")
}

# Offers the hosts that ssh has been told of, or has met, behind a comma and a user's name.
__jobctl_offer_hosts() {
    local file name line words lead=$lead typed=$typed
    if [[ $typed == *[,@]* ]]; then
        lead+=${typed%"${typed##*[,@]}"}
        typed=${typed##*[,@]}
    fi
    for file in ~/.ssh/config ~/.ssh/known_hosts /etc/ssh/ssh_config /etc/ssh/ssh_known_hosts; do
        [[ -r $file ]] || continue
        while read -r line; do
            read -r -a words <<<"$line"
            case $file in
            *config)
                [[ ${words[0]-} == [Hh][Oo][Ss][Tt] ]] || continue
                words=("${words[@]:1}")
                ;;
            *) IFS=, read -r -a words <<<"${words[0]-}" ;;
            esac
            for name in "${words[@]}"; do
                [[ $name == \[*\]:* ]] && name=${name#[} name=${name/]/}
                [[ $name == *[!A-Za-z0-9._:-]* ]] || __jobctl_offer "$name"
            done
        done <"$file"
    done
}

# Offers what a kind of value means.
__jobctl_value() {
    local set commas names
    case $1 in
    '' | text) ;;
    file) __jobctl_offer_files -f ;;
    directory) __jobctl_offer_files -d ;;
    jobs.*) __jobctl_ask jobs "${1#jobs.}" "$typed" ;;
    number)
        compopt -o nosort 2>/dev/null # bash 4.4; the newest first
        __jobctl_ask runs "$job" "$typed"
        ;;
    hosts) __jobctl_offer_hosts ;;
    users)
        read -r -d '' -a names < <(compgen -u)
        __jobctl_offer "${names[@]}"
        ;;
    queues) __jobctl_ask queues "$typed" ;;
    variable)
        compopt -o nospace 2>/dev/null
        read -r -d '' -a names < <(compgen -e)
        __jobctl_offer "${names[@]/%/=}"
        ;;
    variables)
        read -r -d '' -a names < <(compgen -e)
        __jobctl_offer_list all none "${names[@]}"
        ;;
    verb) read -r -a names <<<"$__jobctl_verbs" && __jobctl_offer "${names[@]}" ;;
    *)
        __jobctl_set "$1"
        read -r -a names <<<"$set"
        if ((commas)); then __jobctl_offer_list "${names[@]}"; else __jobctl_offer "${names[@]}"; fi
        ;;
    esac
    [[ ${COMPREPLY[0]-} == *= ]] && compopt -o nospace 2>/dev/null
}

# Sets kind, that of the value of an option; fails for what takes none.
__jobctl_kind() {
    [[ " $options $__jobctl_globals " =~ " $1:"([^ ]+)" " ]] && kind=${BASH_REMATCH[1]}
}

# Sets words, whole, where COMP_WORDS has them cut at = : @, up to the cursor; and places, where each begins there.
__jobctl_split() {
    local i word rest line=${COMP_LINE:0:COMP_POINT}
    words=() places=()
    for ((i = 0; i <= COMP_CWORD; i++)); do
        word=${COMP_WORDS[i]}
        rest=${line#"${line%%[![:space:]]*}"}
        ((i < COMP_CWORD)) || word=$rest
        if ((i == 0)) || [[ $rest != "$line" ]]; then
            words+=("$word") places+=("$i")
        else
            words[${#words[@]} - 1]+=$word
        fi
        line=${rest#"$word"}
    done
}

# A word as the shell would pass it on. Fails where that cannot be told without running what is in it.
__jobctl_plain() {
    plain=${1//[\"\'\\]/}
    [[ $1 == \~/* ]] && plain=$HOME/${plain#\~/}
    [[ $1 != *[\$\`]* ]]
}

# Completes what `run` runs, from COMP_WORDS[$1] on: as that command, by its own completion.
__jobctl_command() {
    if declare -F _comp_command_offset >/dev/null; then
        _comp_command_offset "$1"
    elif declare -F _command_offset >/dev/null; then
        _command_offset "$1"
    elif ((COMP_CWORD == $1)); then
        local word
        compopt -o filenames 2>/dev/null
        while IFS= read -r word; do COMPREPLY+=("$word"); done < <(compgen -c -- "${COMP_WORDS[COMP_CWORD]}")
    elif [[ $(complete -p -- "${COMP_WORDS[$1]}" 2>/dev/null) =~ " -F "([^ ]+) ]]; then
        local line=${COMP_LINE:0:COMP_POINT}
        while [[ $line == *[[:space:]]* && ${line%%[[:space:]]*} != "${COMP_WORDS[$1]}" ]]; do line=${line#*[[:space:]]}; done
        local COMP_LINE=$line COMP_POINT=${#line} COMP_CWORD=$((COMP_CWORD - $1))
        COMP_WORDS=("${COMP_WORDS[@]:$1}")
        "${BASH_REMATCH[1]}" "${COMP_WORDS[0]}" "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
    else
        __jobctl_offer_files -f
    fi
}

# Sets kind to that of the value which a word wants from the next one; fails for all other words.
__jobctl_wants() {
    local word=$1
    if [[ $word == --* ]]; then
        __jobctl_kind "$word"
        return
    fi
    while word=${word:1} && [[ $word ]]; do # -fn 20 wants one, -fn20 has it
        __jobctl_kind "-${word:0:1}" && break
    done
    [[ ${#word} -eq 1 ]] || { kind='' && return 1; }
}

# Reads the line up to the cursor. Sets verb, options and operands; target, the options that name the daemon; job and
# second, the first operands; kind, that of the value wanted; dashes, if there was a --. Succeeds where run's command has begun, in
# COMP_WORDS at place.
__jobctl_read() {
    local i word plain last=$((${#words[@]} - 1))
    for ((i = 1; i < last; i++)); do
        word=${words[i]}
        if [[ $word == -- && ! $dashes ]]; then
            dashes=1
        elif [[ $word == -?* && ! $dashes ]]; then
            case $word in
            --user | --system) target+=("$word") ;;
            --socket) ((i + 1 < last)) && word=--socket=${words[i + 1]} ;;
            -H* | --host*) program=false ;; # each TAB would be a login over there
            esac
            if [[ $word == --socket=* ]]; then
                __jobctl_plain "$word" || program=false
                target+=("$plain")
            fi
            __jobctl_wants "${words[i]}" && ((++i < last)) && kind=''
        elif [[ ! $verb ]]; then
            verb=$word
            __jobctl_verb "$verb"
        elif [[ $operands == command ]]; then
            place=${places[i]}
            return 0
        elif [[ ! $job ]]; then
            job=$word
        else
            second=${second:-$word}
        fi
    done
    place=${places[last]}
    [[ $operands == command && ! $kind && (${words[last]} != -* || $dashes) ]]
}

_jobctl() {
    local IFS=$' \t\n' words places verb='' options='' operands='' target=() job='' second='' kind='' dashes='' place=0
    local lead='' typed kept='' plain program n option
    COMPREPLY=()
    __jobctl_split
    typed=${words[${#words[@]} - 1]}
    if [[ $typed == [\"\']* ]]; then
        typed=${typed:1} # bash keeps the quote, and breaks no word in it
    else
        for ((n = ${#typed}; n > 0; n--)); do
            [[ $COMP_WORDBREAKS == *"${typed:n-1:1}"* ]] && break
        done
        ((n > 0)) && [[ ${typed:n-1:1} == [@$] ]] && ((n--)) # these two it replaces as well
        kept=${typed:0:n}
    fi
    __jobctl_plain "${words[0]}" && program=$plain || program=false
    if __jobctl_read; then
        __jobctl_command "$place"
    elif [[ $kind ]]; then
        __jobctl_value "$kind"
    elif [[ $typed == --*=* && ! $dashes ]]; then
        __jobctl_kind "${typed%%=*}" || return 0
        lead=${typed%%=*}= typed=${typed#*=}
        __jobctl_value "$kind"
    elif [[ $typed == -* && ! $dashes ]]; then
        for option in $options $__jobctl_globals --help; do __jobctl_offer "${option%%:*}"; done
        [[ $verb ]] || __jobctl_offer --version
    elif [[ ! $verb ]]; then
        __jobctl_value verb
    elif [[ $verb == auth && $job ]]; then
        [[ $job != can-i ]] || if [[ $second ]]; then __jobctl_value jobs.any; else __jobctl_value verb; fi
    elif [[ $verb == queue && $job ]]; then
        case $job in
        switch) __jobctl_value jobs.waiting ;;
        add | set) # a queue, for add a new one, and then what it is to be
            if [[ $second ]]; then
                compopt -o nospace 2>/dev/null
                __jobctl_offer slots=
            elif [[ $job == set ]]; then
                __jobctl_value queues
            fi
            ;;
        *) __jobctl_value queues ;;
        esac
    elif [[ $verb == set-property && ! $job ]]; then
        __jobctl_value jobs.any
    else
        __jobctl_value "$operands"
    fi
    return 0
}

complete -F _jobctl jobctl
