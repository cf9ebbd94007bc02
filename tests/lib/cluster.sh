# For integration tests in bash: a cluster of real processes in a directory of its own, ended and removed whatever
# happens. The first lines of a test:
#
#     #!/bin/bash
#     # What this test proves, in a sentence.
#     . "$(dirname "$0")/../lib/cluster.sh"
#     cluster_up --chunkservers 4 --workers 0
#
# After sourcing: errexit, nounset and pipefail are on, $T is a scratch directory, the programs are on the PATH. A
# command that fails ends the test with its line and the ends of all logs. Nothing here sleeps for a result:
# wait_until asks again until it is so.
# shellcheck shell=bash
set -Eeuo pipefail

TRIREME_SOURCE=${TRIREME_SOURCE:-$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)}
TRIREME_BUILD=${TRIREME_BUILD:-$TRIREME_SOURCE/build/release}
TRIREME_FULL=${TRIREME_FULL:-0}
PATH=$TRIREME_BUILD/bin:$PATH
DEVCLUSTER=$TRIREME_SOURCE/deploy/devcluster
T=$(mktemp -d "${TMPDIR:-/tmp}/trireme-test.XXXXXX")
CLUSTER=$T/c

cluster_finish()
{
    local status=$?
    trap - EXIT ERR
    set +eu
    if [ -e "$CLUSTER/cluster.json" ]; then
        if [ $status != 0 ] && [ $status != 77 ]; then
            cluster_logs
        fi
        "$DEVCLUSTER" down --dir "$CLUSTER" >/dev/null 2>&1
    fi
    rm -rf "$T"
    exit $status
}
trap cluster_finish EXIT
trap 'echo "FAILED at ${BASH_SOURCE[0]##*/}:$LINENO: $BASH_COMMAND" >&2' ERR
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

# say TEXT: a line in the test's story.
say()
{
    echo "--- $* (${SECONDS} s)"
}

# fail TEXT: ends the test.
fail()
{
    echo "FAILED: $*" >&2
    exit 1
}

# skip REASON: ends the test as skipped.
skip()
{
    echo "$*"
    exit 77
}

# cluster_up [OPTION...]: starts the cluster in $CLUSTER, or what has died of it; sets DFS_MASTER and MR_MASTER.
cluster_up()
{
    local assignments
    assignments=$("$DEVCLUSTER" up --dir "$CLUSTER" --build "$TRIREME_BUILD" "$@")
    eval "$assignments"
}

cluster_down()
{
    "$DEVCLUSTER" down --dir "$CLUSTER"
}

# The last lines of every member's log.
cluster_logs()
{
    local log
    for log in "$CLUSTER"/*/log; do
        echo "=== ${log#"$CLUSTER"/}"
        tail -n 12 "$log"
    done >&2
}

# cluster_field NAME FIELD: pid, address, data, host... of a member; "None" when it does not run.
cluster_field()
{
    { "$DEVCLUSTER" status --dir "$CLUSTER" --json || true; } | /usr/bin/python3 -c '
import json, sys
print(next(m for m in json.load(sys.stdin)["members"] if m["name"] == sys.argv[1])[sys.argv[2]])' "$1" "$2"
}

# kill9 NAME...: SIGKILL to members, which must be running; returns when they are proven gone.
kill9()
{
    "$DEVCLUSTER" kill --dir "$CLUSTER" "$@"
}

# pause NAME, resume NAME: SIGSTOP and SIGCONT, a machine that hangs and comes back.
pause()
{
    "$DEVCLUSTER" kill --dir "$CLUSTER" --signal STOP "$@"
}

resume()
{
    "$DEVCLUSTER" kill --dir "$CLUSTER" --signal CONT "$@"
}

# wait_until SECONDS COMMAND...: runs the command until it succeeds; fails the test when it has not by then.
wait_until()
{
    local end=$((SECONDS + $1))
    shift
    until "$@" >"$T/wait_until.log" 2>&1; do
        if [ $SECONDS -ge $end ]; then
            cat "$T/wait_until.log" >&2
            fail "never so: $*"
        fi
        sleep 0.05
    done
}

# expect STATUS COMMAND...: the command must end with that exit status; its output goes to $T/out and $T/err.
expect()
{
    local wanted=$1 status=0
    shift
    "$@" >"$T/out" 2>"$T/err" || status=$?
    if [ $status != "$wanted" ]; then
        cat "$T/out" "$T/err" >&2
        fail "exit status $status instead of $wanted: $*"
    fi
}

# json COMMAND... -- EXPRESSION: of what the command says with --json, as d.
json()
{
    local command=()
    while [ "$1" != -- ]; do
        command+=("$1")
        shift
    done
    "${command[@]}" --json | /usr/bin/python3 -c "
import json, sys
d = json.load(sys.stdin)
print($2)"
}

# report EXPRESSION: of the cluster's report, as d.
report()
{
    json dfs report -- "$1"
}

# is WANTED COMMAND...: the command prints that.
is()
{
    local got
    got=$("${@:2}") || return 1
    [ "$got" = "$1" ] || { echo "$got instead of $1" >&2; return 1; }
}

# held: replicas that chunkservers have told of.
held()
{
    report 'sum(s["chunks"] for s in d["servers"])'
}

# job_has JOB EXPRESSION: of mr status JOB --json, as j.
job_has()
{
    mr status "$1" --json | /usr/bin/python3 -c "import json, sys; j = json.load(sys.stdin); sys.exit(not ($2))"
}

# random_file PATH BYTES [SEED]: bytes that follow from the seed alone, so that a failure can be looked at again.
random_file()
{
    openssl enc -aes-128-ctr -nosalt -K "$(printf '%032x' "${3:-1}")" -iv 00000000000000000000000000000000 \
        -in /dev/zero 2>/dev/null | head -c "$2" >"$1" || [ "$(stat -c %s "$1")" = "$2" ]
}

# same_bytes LOCAL LOCAL: both have the same content.
same_bytes()
{
    cmp "$1" "$2" || fail "$1 and $2 differ"
}

# reads_back LOCAL PATH: the same as a condition for wait_until.
reads_back()
{
    dfs cat "$2" | cmp - "$1"
}

# same_in_store LOCAL PATH: the file in the store has the bytes of the local one.
same_in_store()
{
    reads_back "$1" "$2" || fail "$2 in the store differs from $1"
}

# slow_writer PATH [OPTION...]: dfs appends to the file what is written to file descriptor 9, until that is closed; sets
# writer, its process id. Options are dfs's own.
slow_writer()
{
    mkfifo "$T/pipe"
    dfs "${@:2}" append - "$1" <"$T/pipe" 2>"$T/append.err" &
    writer=$!
    exec 9>"$T/pipe"
}
