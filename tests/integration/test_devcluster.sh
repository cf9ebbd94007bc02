#!/bin/bash
# deploy/devcluster: starts what has died with the same addresses, ends only what it started, and says what went wrong.
. "$(dirname "$0")/../lib/cluster.sh"

fake=$T/build
export FAKE_STATE=$T/state
mkdir -p "$fake/bin" "$FAKE_STATE"
for name in fsmaster chunkserver mrmaster mrworker; do
    cp "$TRIREME_SOURCE/tests/lib/fake/daemon" "$fake/bin/$name"
done
cp "$TRIREME_SOURCE/tests/lib/fake/dfs" "$fake/bin/dfs"
TRIREME_BUILD=$fake

addresses()
{
    { "$DEVCLUSTER" status --dir "$CLUSTER" --json || true; } | grep -o '"\(address\|data\)": "[^"]*"'
}

say "up: only assignments on stdout, everybody runs and is registered"
"$DEVCLUSTER" up --dir "$CLUSTER" --build "$fake" --masters 1 --chunkservers 3 --workers 2 --hosts 3 --racks 2 \
    --chunkserver-arg=--flavour --chunkserver-arg=plain >"$T/up"
[ "$(grep -vcE '^(DFS|MR)_MASTER=127\.0\.0\.1:[0-9]+$|^export (DFS|MR)_MASTER$' "$T/up" || true)" = 0 ]
[ "$(wc -l <"$T/up")" = 4 ]
[ "$(find "$FAKE_STATE" -name 'registered.*' | wc -l)" = 3 ]
expect 0 "$DEVCLUSTER" status --dir "$CLUSTER"
[ "$(grep -c running "$T/out")" = 7 ]
eval "$(cat "$T/up")"
[ "$(cluster_field fsmaster1 address)" = "$DFS_MASTER" ]
[ "$(cluster_field mrmaster1 address)" = "$MR_MASTER" ]
grep -q -- "--masters $DFS_MASTER --mrmaster $MR_MASTER --slots 1" "$CLUSTER/mrworker1/log"
grep -q -- '--host host3 --rack rack1 .*--flavour plain' "$CLUSTER/chunkserver3/log"
[ "$(cluster_field mrworker2 rack)" = rack2 ]

say "up again: nothing happens; after kill -9 it starts the dead one where it was"
addresses >"$T/before"
survivor=$(cluster_field chunkserver2 pid)
expect 0 "$DEVCLUSTER" up --dir "$CLUSTER"
grep -q 'started 0 of 7' "$T/err"
kill9 chunkserver1 fsmaster1
expect 1 "$DEVCLUSTER" status --dir "$CLUSTER"
[ "$(grep -c dead "$T/out")" = 2 ]
expect 1 "$DEVCLUSTER" kill --dir "$CLUSTER" chunkserver1
expect 0 "$DEVCLUSTER" up --dir "$CLUSTER"
grep -q 'started 2 of 7' "$T/err"
addresses | cmp - "$T/before"
[ "$(cluster_field chunkserver2 pid)" = "$survivor" ]

say "a restart after down keeps addresses too; more members may be added, none taken away"
expect 0 "$DEVCLUSTER" down --dir "$CLUSTER"
expect 1 "$DEVCLUSTER" status --dir "$CLUSTER"
expect 0 "$DEVCLUSTER" up --dir "$CLUSTER"
addresses | cmp - "$T/before"
expect 0 "$DEVCLUSTER" up --dir "$CLUSTER" --workers 3
grep -q 'started 1 of 8' "$T/err"
expect 1 "$DEVCLUSTER" up --dir "$CLUSTER" --workers 2
expect 1 "$DEVCLUSTER" up --dir "$CLUSTER" --racks 3

say "two at once: the second finds everything running"
kill9 chunkserver1 chunkserver2
"$DEVCLUSTER" up --dir "$CLUSTER" >/dev/null 2>"$T/first" &
"$DEVCLUSTER" up --dir "$CLUSTER" >/dev/null 2>"$T/second"
wait $!
cat "$T/first" "$T/second" | grep -q 'started 2 of 8'
cat "$T/first" "$T/second" | grep -q 'started 0 of 8'

say "pause and resume"
pause chunkserver1
stopped()
{
    grep -q '^State:.T' "/proc/$(cluster_field chunkserver1 pid)/status"
}
wait_until 10 stopped
resume chunkserver1
wait_until 10 eval '! stopped'

say "a daemon that does not start: its log is shown"
kill9 chunkserver2
touch "$FAKE_STATE/fail.chunkserver2"
expect 1 "$DEVCLUSTER" up --dir "$CLUSTER"
grep -q 'chunkserver2 ended before it was ready (exit status 1)' "$T/err"
grep -q 'told to fail' "$T/err"
rm "$FAKE_STATE/fail.chunkserver2"
expect 0 "$DEVCLUSTER" up --dir "$CLUSTER"

say "down leaves a process alone that only has the recorded id"
sleep 1000 &
decoy=$!
kill9 mrworker1
/usr/bin/python3 - "$CLUSTER/cluster.json" "$decoy" <<'PYTHON'
import json, sys
state = json.load(open(sys.argv[1]))
start = open(f"/proc/{sys.argv[2]}/stat").read().rpartition(")")[2].split()[19]
state["members"]["mrworker1"].update(pid=int(sys.argv[2]), start_time=int(start))
json.dump(state, open(sys.argv[1], "w"))
PYTHON
touch "$CLUSTER/of somebody else"
expect 0 "$DEVCLUSTER" down --dir "$CLUSTER" --remove
kill -0 $decoy
kill $decoy
[ "$(ls "$CLUSTER")" = "of somebody else" ]
expect 1 "$DEVCLUSTER" status --dir "$CLUSTER"
expect 1 "$DEVCLUSTER" up --dir "$CLUSTER"
grep -q 'is not empty' "$T/err"

say "a store alone has no MR_MASTER"
CLUSTER=$T/store
cluster_up --masters 1 --chunkservers 1 --workers 0
[ "$(cluster_field chunkserver1 host)" = host1 ]
expect 0 "$DEVCLUSTER" up --dir "$CLUSTER"
[ "$(cat "$T/out")" = "$(printf 'DFS_MASTER=%s\nexport DFS_MASTER' "$DFS_MASTER")" ]
expect 2 "$DEVCLUSTER" up
echo "done"
