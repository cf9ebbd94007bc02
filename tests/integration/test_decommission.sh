#!/bin/bash
# Chunkservers out of service: a decommissioned one gets nothing new, is copied elsewhere and then stopped without a
# chunk short of copies; one in maintenance is stopped without a copy being made, until its time is over. Both outlive
# restarts of everything, and whoever waits says for what.
. "$(dirname "$0")/../lib/cluster.sh"
cluster_up --masters 3 --chunkservers 5 --workers 0 --racks 2 --fsmaster-arg=--server-dead-ms=3000

# says PATTERN COMMAND...: its output has such a line. Not through a pipe, which grep would close too early.
says()
{
    expect 0 "${@:2}"
    grep -q "$1" "$T/out"
}

# server HOST EXPRESSION: of its entry in the report, as s.
server()
{
    report "next($2 for s in d['servers'] if s['host'] == '$1')"
}

chunks()
{
    report "d['chunks']['$1']"
}

all_heard()
{
    is 0 chunks unheard && is 0 chunks missing
}

# How many chunks the files have, and how many copies of them are not on one host.
copies_beside()
{
    dfs loc --json '/d/*' | /usr/bin/python3 -c '
import json, sys
chunks = [c for f in json.load(sys.stdin) for c in f["chunks"]]
print(len(chunks), sum(sum(r["host"] != sys.argv[1] for r in c["replicas"]) for c in chunks))' "$1"
}

# Replicas on all chunkservers.
# Replicas on all chunkservers but one.
held_beside()
{
    report "sum(s['chunks'] for s in d['servers'] if s['host'] != '$1')"
}

same_files()
{
    local i
    for i in 1 2 3 4; do
        same_in_store "$T/file" "/d/$i"
    done
}

random_file "$T/file" $((6 * 1024 * 1024 + 321)) 7
dfs mkdir /d
for i in 1 2 3 4; do
    dfs put --replication 3 --chunk-size 1M "$T/file" "/d/$i"
done

say "refused: strangers, and servers that are not there"
expect 1 dfs admin decommission --user stranger host2
grep -q "only .* may take chunkservers out of service" "$T/err"
expect 1 dfs admin decommission host99
expect 2 dfs admin decommission
expect 2 dfs admin maintenance --for 31d host2
is in-service server host2 "s['state']"

say "a decommissioned server is copied elsewhere; a writer holds it up until it closes"
mkfifo "$T/pipe"
dfs put --host host2 --replication 3 - /slow <"$T/pipe" &
writer=$!
exec 3>"$T/pipe"
head -c 300000 "$T/file" >&3
wait_until 20 is 29 chunks total
dfs admin decommission host2 >"$T/out"
grep -q "(host2, .*): being decommissioned: " "$T/out"
wait_until 60 is "0 1 writer" server host2 'str(s["leaving"]["needed"]) + " " + str(s["leaving"]["writing"]) + " " + s["leaving"]["reason"]'
is decommissioning server host2 "s['state']"
exec 3>&-
wait $writer
expect 0 dfs admin decommission --wait host2
grep -q "decommissioned: it can be stopped" "$T/out"
is "28 84" copies_beside host2
wait_until 20 is 0 chunks under_replicated
dfs put --host host2 --replication 3 "$T/file" /new
if dfs loc /new | grep host2; then
    fail "a new chunk went to a server that is decommissioned"
fi
says "^Chunkserver .* (host2): decommissioned: it can be stopped" dfs report
says "decommissioned: it can be stopped" dfs why host2
says "^Decommission Status : Decommissioned" dfs report --hadoop

say "it stays so when the leader dies, when all file masters do, and when it registers anew"
leader=$(json dfs admin raft status -- 'd["leader"]')
kill9 "fsmaster$leader" 2>/dev/null
wait_until 30 is decommissioned server host2 "s['state']"
kill9 chunkserver2 2>/dev/null
for id in 1 2 3; do
    [ "$id" = "$leader" ] || kill9 "fsmaster$id" 2>/dev/null
done
cluster_up 2>/dev/null
wait_until 60 is decommissioned server host2 "s['state']"
wait_until 30 is True server host2 "s['live']"

say "it is stopped, and nothing lacks a copy"
before=$(held)
kill9 chunkserver2 2>/dev/null
wait_until 30 is False server host2 "s['live']"
is 0 chunks under_replicated
same_files

say "it comes back into service: what is too much then goes"
cluster_up 2>/dev/null
wait_until 30 is True server host2 "s['live']"
says "in service" dfs admin recommission host2
wait_until 60 is $((3 * $(chunks total))) held
[ "$before" -gt "$(held)" ]
is 0 chunks under_replicated

say "too few servers are left: it waits, and says for what"
for host in host1 host2 host3; do
    dfs admin decommission $host >/dev/null
done
wait_until 60 is target server host1 's["leaving"]["reason"]'
says "waits for a live chunkserver in service that has no copy yet" dfs why host1
says "good, does not count: its chunkserver is decommissioned" dfs why /d
is "['target']" json dfs why /d -- 'sorted({c["reason"] for c in d if c["reason"] not in ("turn", "end", "busy-target")})'
same_files
dfs admin decommission --wait --quiet host1 >/dev/null &
waiter=$!
wait_until 10 is target server host1 's["leaving"]["reason"]'
for host in host2 host3; do
    dfs admin recommission $host >/dev/null
done
wait $waiter
is decommissioned server host1 "s['state']"
dfs admin recommission host1 >/dev/null
wait_until 60 is $((3 * $(chunks total))) held

say "maintenance: the only copies of chunks are copied, nothing else is"
dfs put --host host3 --replication 1 "$T/file" /one
is "['host3']" json dfs loc /one -- 'sorted({r["host"] for f in d for c in f["chunks"] for r in c["replicas"]})'
wait_until 20 is $((3 * $(chunks total) - 2)) held # its server has told of it
before=$(held)
expect 0 dfs admin maintenance --wait host3
grep -q "in maintenance for .* more: it can be stopped" "$T/out"
wait_until 20 is $((before + 1)) held
beside=$(held_beside host3)
away=$(cluster_field chunkserver3 pid)
kill -STOP "$away"
wait_until 30 is False server host3 "s['live']"
wait_until 20 is in-maintenance server host3 "s['state']"
is 0 chunks under_replicated
is "[]" json dfs why / -- '[c for c in d if c["reason"] != "nothing"]'
same_files
same_in_store "$T/file" /one
is "$beside" held_beside host3 || fail "other copies than the $beside that were: $(held_beside host3)"

say "a file master that has never heard it does not copy either"
kill9 fsmaster1 fsmaster2 fsmaster3 2>/dev/null
"$DEVCLUSTER" up --dir "$CLUSTER" >/dev/null 2>&1 & # waits for the one that is away
starting=$!
wait_until 30 is 4 report 'sum(s["live"] for s in d["servers"])'
wait_until 60 all_heard
wait_until 60 is "['away']" json dfs why / -- 'sorted({c["reason"] for c in d if c["reason"] != "nothing"})'
wait_until 20 is in-maintenance server host3 "s['state']"
is "$beside" held_beside host3 || fail "other copies than the $beside that were: $(held_beside host3)"

say "its time is over: it counts as lost"
dfs admin maintenance --for 1s host3 >/dev/null
wait_until 30 is in-service server host3 "s['state']"
wait_until 60 is 0 chunks under_replicated
same_files
kill -CONT "$away"
wait $starting || true
wait_until 60 is True server host3 "s['live']"
wait_until 60 is $((3 * $(chunks total) - 2)) held # /one has one copy
