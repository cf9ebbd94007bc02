#!/bin/bash
# A task of a killed job still runs, because its worker is stopped and cannot end it, and commits when another job has the same
# output: that job's directory takes nothing from it.
. "$(dirname "$0")/../lib/cluster.sh"
cluster_up --masters 1 --chunkservers 3 --workers 2 --slots 1
export LC_ALL=C
seq 1 2000 >"$T/numbers"
dfs put "$T/numbers" /numbers

# job NAME: its one reduce says that it runs, and marks each line with NAME when NAME.go is there.
job()
{
    mr run --json --mapper cat --reducer "echo \$PPID >$T/$1.runs; while [ ! -e $T/$1.go ]; do sleep 0.05; done; sed s/^/$1/" \
        -r 1 -i /numbers -o /out >"$T/$1.json" 2>"$T/$1.err"
}
running()
{
    [ -s "$T/$1.runs" ]
}
# The process that has run its program and told its worker, which does not look: it waits to be buried.
has_ended()
{
    [ ! -e "/proc/$1" ] || grep -q '^State:.*Z' "/proc/$1/status"
}

job A || true & # killed
wait_until 30 running A
task=$(cat "$T/A.runs")
while [ "$(cat "/proc/$task/comm")" != mrtask ]; do
    task=$(awk '/^PPid/ { print $2 }' "/proc/$task/status")
done
worker=$(tr '\0' '\n' <"/proc/$task/environ" | sed -n "s,^MRTASK_DATA=$CLUSTER/\([^/]*\)/.*,\1,p")
say "A runs on $worker, which is stopped; A is killed"
pause "$worker" 2>/dev/null
mr kill job_1_0001 >/dev/null
wait_until 30 eval '! dfs test -e /._mr_out'
wait

say "B has the same output; now A's task commits"
job B &
wait_until 30 running B
dfs test -d /._mr_out
touch "$T/A.go"
wait_until 30 has_ended "$task"
[ "$(dfs ls -C /._mr_out | grep -c '/part-')" = 0 ] || fail "a task of A has put its part among those of B"
touch "$T/B.go"
wait
[ "$(dfs cat '/out/part-*' | grep -c '^B')" = 2000 ] || fail "the output is not that of B alone"
[ "$(dfs cat '/out/part-*' | wc -l)" = 2000 ]
resume "$worker" 2>/dev/null
say "done"
