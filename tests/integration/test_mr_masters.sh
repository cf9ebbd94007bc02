#!/bin/bash
# Two mrmasters on one store: the one that started last is the mrmaster. The other one stops acting and ends by itself, also
# when it was asleep while it was deposed; no job fails by it or gives its output twice.
. "$(dirname "$0")/../lib/cluster.sh"
cluster_up --chunkservers 3 --workers 0
export LC_ALL=C
cd "$T"

# free_port: one that nobody has now, below those that the kernel gives to connections: clients that try a mrmaster that is
# away must not get its port as their own.
free_port()
{
    /usr/bin/python3 -c 'import random, socket
while True:
    s = socket.socket()
    try:
        s.bind(("127.0.0.1", random.randrange(15000, 30000)))
    except OSError:
        continue
    print(s.getsockname()[1])
    break'
}

first=127.0.0.1:$(free_port)
second=127.0.0.1:$(free_port)
export MR_MASTER=$first,$second

# Data and logs lie beside those of the cluster, so that a failure shows the logs' ends too.
log_of()
{
    echo "$CLUSTER/$1/log"
}

# master NAME ADDRESS [OPTION...]: starts a mrmaster; ${pid_of[NAME]} is its process. Returns when it serves.
declare -A pid_of
master()
{
    mkdir "$CLUSTER/$1"
    setpriv --pdeathsig KILL mrmaster --data "$CLUSTER/$1/data" --masters "$DFS_MASTER" --listen "$2" "${@:3}" 2>"$(log_of "$1")" &
    pid_of[$1]=$!
    wait_until 20 grep -q 'serving address' "$(log_of "$1")"
}

# is_deposed NAME: it has ended by itself, orderly, and says why.
is_deposed()
{
    wait_until 60 grep -q ' error mrmaster: deposed: another mrmaster has taken over' "$(log_of "$1")"
    wait "${pid_of[$1]}" || fail "the deposed mrmaster $1 ended with status $?"
    ! grep -q 'state=failed' "$(log_of "$1")" || fail "the deposed mrmaster $1 has failed a job"
}

for i in 1 2; do
    mkdir "$CLUSTER/worker$i"
    setpriv --pdeathsig KILL mrworker --data "$CLUSTER/worker$i/data" --masters "$DFS_MASTER" --mrmaster "$MR_MASTER" \
        --listen 127.0.0.1:0 --host "host$i" --slots 2 2>"$(log_of "worker$i")" &
done

head -c 400000 "$TRIREME_SOURCE/LICENSE" "$TRIREME_SOURCE"/common/*.h -q >text
sort text >sorted
dfs put text /text

# job NAME: its output is /NAME; it takes a few seconds of waiting, in maps and in reduces.
job()
{
    mr run --mapper 'sleep 0.5; cat' --reducer 'sleep 0.5; cat' -i /text -o "/$1" -r 2 --split-size 30K >"$1.out" 2>&1
}

is_right()
{
    dfs cat "$1/part-*" | sort | cmp - sorted || fail "$1 is wrong"
    [ "$(dfs ls -C "$1" | grep -c /part-)" = 2 ] || fail "$1 has not 2 parts"
}

some_maps_are_done()
{
    mr status --json | /usr/bin/python3 -c 'import json, sys; sys.exit(json.load(sys.stdin)["maps"]["done"] < 2)'
}

say "a second mrmaster takes over in the middle of a job"
master a "$first"
wait_until 20 grep -q 'joined mrmaster' "$(log_of worker1)"
job one &
running=$!
wait_until 30 some_maps_are_done
master b "$second"
is_deposed a
wait $running || fail "$(cat one.out)"
is_right /one
[ "$(mr history | wc -l)" = 1 ] || fail "not one job: $(mr history)"

say "one that sleeps while it is deposed, and while it has tasks to give out"
job two &
running=$!
wait_until 30 some_maps_are_done
kill -STOP "${pid_of[b]}"
master c "$first"
wait $running || fail "$(cat two.out)"
is_right /two
kill -CONT "${pid_of[b]}"
is_deposed b

say "an idle one learns of it too"
master d "$second"
is_deposed c
job three || fail "$(cat three.out)"
is_right /three

say "jobs that have ended are forgotten in time, however they ended"
master e "$first" --history 1s
is_deposed d
expect 1 mr run -q --mapper false --attempts 1 -i /text -o /four
mr kill "$(mr run --detach --mapper 'sleep 1000' -i /text -o /five)" >/dev/null
nothing_is_remembered()
{
    [ -z "$(mr history)" ] && [ -z "$(dfs ls /system/mr/jobs)" ]
}
wait_until 60 nothing_is_remembered
say "done"
