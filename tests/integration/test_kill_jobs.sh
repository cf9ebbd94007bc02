#!/bin/bash
# kill -9 of mrworkers, of tasks and of the mrmaster during jobs of many small splits, and a task that is stopped: every job
# succeeds with the right output, and what had finished before the mrmaster was killed is kept.
. "$(dirname "$0")/../lib/cluster.sh"
. "$(dirname "$0")/../lib/kill.sh"
rounds=1
if [ "$TRIREME_FULL" = 1 ]; then
    rounds=10
fi
workers=4
cluster_up --chunkservers 4 --workers $workers --slots 2
export LC_ALL=C
cat "$TRIREME_SOURCE"/{README.md,LICENSE,docs/*.md,common/*.[ch]} | head -c 800000 >"$T/text"
dfs put "$T/text" /text
tr -s ' \t\r\v\f' '\n' <"$T/text" | grep -a -v '^$' | sort | uniq -c |
    sed -E 's/^ *([0-9]+) (.*)$/\2\t\1/' | sort >"$T/reference"
examples=$TRIREME_SOURCE/mapreduce/examples/streaming

# Each map waits a little, so that the job is long enough to be killed at many moments and still costs no processor.
# Reduce N takes N times as long as reduce 0, and with APART=1 a second more each: some are committed while others run.
# word_count OUTPUT [OPTION...]
word_count()
{
    mr run --json "${@:2}" --mapper 'sleep 0.8; ./wordcount_map' --file "$examples/wordcount_map" \
        --reducer 'sleep $((mapreduce_task_partition * ${APART:-0})).$((mapreduce_task_partition * 15 + 10)); ./wordcount_reduce' \
        --file "$examples/wordcount_reduce" -i /text -o "$1" -r 6 --split-size 16K >"$T$1.json" 2>"$T$1.err"
}

job_is_right()
{
    dfs cat "$1/part-*" | sort | cmp - "$T/reference" || fail "$1 differs from sort | uniq -c"
    [ "$(dfs ls -C "$1" | grep -c '/part-')" = 6 ]
    dfs stat "$1/_SUCCESS" >/dev/null
    ! dfs stat "${1%/*}/._mr_${1##*/}" 2>/dev/null || fail "the hidden directory is still there"
}

# parts PATH: the committed parts and their inodes.
parts()
{
    dfs ls -C "$1" 2>/dev/null | grep /part- | while read -r name; do
        echo "${name##*/} $(dfs stat --json "$name" | /usr/bin/python3 -c 'import json, sys; print(json.load(sys.stdin)[0]["inode"])')"
    done
}

# busy_tasks: process ids of this cluster's mrtask processes that run a program just now. Their environment names the
# worker's data directory; a child of theirs is the mapper or reducer.
busy_tasks()
{
    /usr/bin/python3 -IS -c '
import glob, sys
for directory in glob.glob("/proc/[0-9]*"):
    try:
        if open(directory + "/comm").read() != "mrtask\n":
            continue
        ours = any(v.startswith(sys.argv[1].encode()) for v in open(directory + "/environ", "rb").read().split(b"\0"))
        if ours and any(open(f).read() for f in glob.glob(directory + "/task/*/children")):
            print(directory[len("/proc/"):])
    except OSError:  # it has ended meanwhile
        pass' "MRTASK_DATA=$CLUSTER/"
}

somebody_is_busy()
{
    [ -n "$(busy_tasks)" ]
}

is_stopped()
{
    grep -q '^State:.T' "/proc/$1/status" 2>/dev/null
}

# hold_at_work PID: stops a task whose program runs on, so that it has told no end and tells none. Status 1: it was
# too late, and the task goes on.
hold_at_work()
{
    local child
    kill -STOP "$1" 2>/dev/null || return 1
    until is_stopped "$1"; do
        ! is_gone "$1" || return 1
    done
    for child in $(cat "/proc/$1/task/"*/children 2>/dev/null); do
        is_gone "$child" || return 0
    done
    kill -CONT "$1" 2>/dev/null || true
    return 1
}

# A task that has told its end is no proof: another one is tried. Status 1: the job is over.
kill_a_task()
{
    local pids=() pid
    while [ -n "$(jobs -r)" ]; do
        mapfile -t pids < <(busy_tasks)
        [ ${#pids[@]} -gt 0 ] || continue
        pid=${pids[RANDOM % ${#pids[@]}]}
        if hold_at_work "$pid" && strike_pid "$pid" task; then
            return 0
        fi
    done
    return 1
}

# SIGSTOP to a task that runs a program; $stopped is its process. Status 1: the job is over.
stop_a_task()
{
    local pids=()
    while [ -n "$(jobs -r)" ]; do
        mapfile -t pids < <(busy_tasks)
        [ ${#pids[@]} -gt 0 ] || continue
        stopped=${pids[RANDOM % ${#pids[@]}]}
        if hold_at_work "$stopped"; then
            return 0
        fi
    done
    return 1
}

# job_of OUTPUT: the id of the job that makes it, once it is submitted.
job_of()
{
    wait_until 20 grep -q submitted "$T$1.err"
    grep -o 'job_[0-9_]*' "$T$1.err" | head -n 1
}

# finished_maps JOB: its attempts of maps that succeeded.
finished_maps()
{
    mr logs "$1" | awk '$1 ~ /_m_/ && $2 == "succeeded" { print $1 }' | sort
}

some_maps_are_finished()
{
    [ "$(finished_maps "$1" | wc -l)" -gt 2 ]
}

# kept_maps JOB FILE: each of these attempts is still the only one of its task.
kept_maps()
{
    mr logs "$1" | awk -v wanted="$(wc -l <"$2")" '
        function task(name) { sub(/^attempt_[0-9]+_/, "", name); sub(/_[0-9]+$/, "", name); return name }
        NR == FNR { finished[$1]; next }
        { of[task($1)] = of[task($1)] " " $1 " " $2; if ($1 in finished && $2 == "succeeded") kept++ }
        END {
            for (name in finished) if (of[task(name)] != " " name " succeeded") { print of[task(name)]; wrong = 1 }
            printf "    %d of %d maps that were finished before the kill ran once\n", kept, wanted
            exit wrong || kept != wanted || kept == 0
        }' "$2" - || fail "finished maps were run again after a restart of the mrmaster"
}

# counted NAME LEAST FILE: how many attempts of a job failed, or were lost.
counted()
{
    /usr/bin/python3 -c '
import json, sys
found = json.load(open(sys.argv[3]))["attempts"][sys.argv[1]]
print(f"    {found} attempts {sys.argv[1]}")
sys.exit(found < int(sys.argv[2]))' "$@" || fail "attempts $1: less than $2"
}

# counters_are FILE: what tasks counted before the restarts counts, once.
counters_are()
{
    /usr/bin/python3 -c '
import json, sys
counters = json.load(open(sys.argv[1]))["counters"]["Map-Reduce Framework"]
found = counters["Map input records"], counters["Reduce output records"]
print("    counted", found)
sys.exit(found != (int(sys.argv[2]), int(sys.argv[3])))' "$1" "$(wc -l <"$T/text")" "$(wc -l <"$T/reference")" ||
        fail "counters are not those of one run"
}

for ((round = 1; round <= rounds; round++)); do
    say "workers are killed, and come back later"
    timed word_count "/workers$round" &
    job=$!
    wait_until 20 somebody_is_busy
    strike mrworker$(((SEED + round) % workers + 1))
    for ((i = 1; i <= 2; i++)); do # on a slow machine the job may be over before what was killed is back
        nap 500
        cluster_up 2>/dev/null
        nap 900
        "$DEVCLUSTER" kill --dir "$CLUSTER" mrworker$(((SEED + round + i) % workers + 1)) 2>/dev/null
    done
    cluster_up 2>/dev/null
    wait $job
    nothing_failed
    counted lost 1 "$T/workers$round.json"
    job_is_right "/workers$round"

    say "tasks are killed, maps and reduces"
    timed word_count "/tasks$round" --no-speculative &
    job=$!
    kills=0
    for ((i = 1; i <= 5; i++)); do
        kill_a_task || break
        kills=$((kills + 1))
        nap 400
    done
    wait $job
    nothing_failed
    [ $kills -ge 1 ] || fail "the job was over before a task was killed"
    counted failed $kills "$T/tasks$round.json"
    job_is_right "/tasks$round"

    say "a task is stopped: its time limit ends it, and it runs again"
    for ((i = 1; i <= 5; i++)); do # on a slow machine the job may be over before a task is found at work
        output=/stopped$round.$i
        timed word_count "$output" --timeout 5s --no-speculative &
        job=$!
        if stop_a_task; then
            break
        fi
        wait $job
    done
    [ $i -le 5 ] || fail "five jobs were over before a task was stopped"
    wait_until 60 is_gone "$stopped"
    wait $job
    nothing_failed
    counted failed 1 "$T$output.json"
    job_is_right "$output"

    say "the mrmaster is killed while maps run, and again when some reduces are committed"
    timed word_count "/master$round" --no-speculative --cmdenv APART=1 &
    job=$!
    id=$(job_of "/master$round")
    wait_until 20 some_maps_are_finished "$id"
    nap 900
    finished_maps "$id" >"$T/finished"
    strike mrmaster1
    nap 300
    cluster_up 2>/dev/null
    wait_until 60 sh -c "dfs ls /._mr_master$round | grep -q /part-"
    strike mrmaster1
    parts "/._mr_master$round" >"$T/kept"
    cluster_up 2>/dev/null
    wait $job
    nothing_failed
    job_is_right "/master$round"
    parts "/master$round" >"$T/all"
    [ -s "$T/kept" ]
    [ -z "$(comm -23 "$T/kept" "$T/all")" ] || fail "a finished reduce ran again"
    kept_maps "$id" "$T/finished"
    counters_are "$T/master$round.json"
    say "$(wc -l <"$T/kept") of 6 reduces were committed before the kill, and are the same files now"
done
strikes_check $((rounds * 3))
