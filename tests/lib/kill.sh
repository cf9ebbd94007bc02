# For tests that kill: which commands ran when the signal landed, and a seed that follows a failure home. After
# tests/lib/cluster.sh.
#
#     timed dfs put ... &        a command that must succeed, with its begin and end written down
#     strike chunkserver2        kill -9 once some timed command runs; returns when the process is gone
#     strikes_check 4            at the end: at least 4 strikes, each while a timed command ran
#
# shellcheck shell=bash

SEED=${TRIREME_SEED:-$((RANDOM % 9000 + 1000))}
RANDOM=$SEED
echo "--- seed: TRIREME_SEED=$SEED"
mkdir -p "$T/running" "$T/ops" "$T/strikes"

# timed COMMAND...: runs it; a failure is written down in $T/failed and returned.
timed()
{
    local begin=$EPOCHREALTIME status=0
    local mark=$T/running/$BASHPID
    : >"$mark"
    "$@" || status=$?
    rm -f "$mark"
    echo "$begin $EPOCHREALTIME $status $*" >>"$T/ops/$BASHPID"
    if [ $status != 0 ]; then
        echo "exit status $status at $EPOCHREALTIME: $*" >>"$T/failed"
    fi
    return $status
}

nothing_failed()
{
    if [ -e "$T/failed" ]; then
        cat "$T/failed" >&2
        fail "a command failed"
    fi
}

somebody_runs()
{
    [ -n "$(ls "$T/running")" ]
}

# nap MILLISECONDS: a random time up to that, so that a kill comes at any moment.
nap()
{
    sleep "$(printf '0.%03d' $((RANDOM % $1)))"
}

# is_gone PID: no such process, or only its exit status is left of it.
is_gone()
{
    local state
    state=$(sed 's/.*) //' "/proc/$1/stat" 2>/dev/null) || return 0
    [ "${state:0:1}" = Z ] || [ "${state:0:1}" = X ]
}

# strike_pid PID WHAT: kill -9 while a timed command runs; the times just before and just after it are written down.
# Returns when the process is gone; status 1 if it was gone before.
strike_pid()
{
    wait_until 20 somebody_runs
    local before=$EPOCHREALTIME
    kill -KILL "$1" 2>/dev/null || return 1
    echo "$before $EPOCHREALTIME $2" >>"$T/strikes/all"
    wait_until 10 is_gone "$1"
}

# strike NAME...: kill -9 to members of the cluster, which must be running.
strike()
{
    local name pid
    for name in "$@"; do
        pid=$(cluster_field "$name" pid)
        strike_pid "$pid" "$name" || fail "$name, process $pid, did not run"
    done
}

# strikes_check LEAST: enough strikes hit a command in progress: one that began before the kill and ended after it.
strikes_check()
{
    cat "$T"/ops/* | awk -v least="$1" '
        NR == FNR { before[NR] = $1; after[NR] = $2; n = NR; next }
        { for (i = 1; i <= n; i++) if ($1 < before[i] && $2 > after[i]) hit[i]++; ops++; failed += $3 != 0 }
        END {
            for (i = 1; i <= n; i++) { hits += hit[i] > 0; struck += hit[i] }
            printf "--- %d kills, %d of them during commands; %d commands in all, %d ran through a kill, %d failed\n", \
                n, hits, ops, struck, failed
            exit hits < least || failed > 0
        }' "$T/strikes/all" - || fail "too few kills hit a running command, or one failed"
}

# report_is FIELD VALUE: one of the numbers of `dfs report --json` about chunks.
report_is()
{
    dfs report --json | /usr/bin/python3 -c '
import json, sys
found = json.load(sys.stdin)["chunks"][sys.argv[1]]
print(sys.argv[1], found)
sys.exit(str(found) != sys.argv[2])' "$1" "$2"
}

live_servers_are()
{
    dfs report --json | /usr/bin/python3 -c '
import json, sys
live = sum(s["live"] for s in json.load(sys.stdin)["servers"])
print(live, "servers live")
sys.exit(live != int(sys.argv[1]))' "$1"
}

# all_copies_good: every chunk has as many copies as its file wants.
all_copies_good()
{
    report_is under_replicated 0 && report_is missing 0 && report_is unheard 0 && return
    dfs fsck / # which ones, for whoever reads why it was never so
    return 1
}
