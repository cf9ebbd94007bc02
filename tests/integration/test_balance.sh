#!/bin/bash
# A chunkserver joins empty: `dfs admin balance' moves copies to it until all are about equally full, with never fewer
# copies or racks than before, also when the leader dies on the way; then there is nothing to move.
. "$(dirname "$0")/../lib/cluster.sh"
servers=(--chunkserver-arg=--capacity=256M --fsmaster-arg=--server-dead-ms=2000)
cluster_up --masters 3 --chunkservers 3 --workers 0 --racks 2 "${servers[@]}"

# spread: of all chunks, least number of racks and of copies.
spread()
{
    dfs loc --json '/d/*' | /usr/bin/python3 -c '
import json, sys
chunks = [c["replicas"] for f in json.load(sys.stdin) for c in f["chunks"]]
print(min(len({r["rack"] for r in c}) for c in chunks), min(len(c) for c in chunks))'
}

watch()
{
    while [ ! -e "$T/stop" ]; do
        local got
        got=$(spread) || continue
        echo "$got" >>"$T/spreads"
    done
}

random_file "$T/file" $((8 * 1024 * 1024 + 77)) 5
dfs mkdir /d
for i in 1 2 3 4 5 6; do
    dfs put --replication 2 --chunk-size 1M "$T/file" "/d/$i"
done
chunks=$(report 'd["chunks"]["total"]')
expect 1 dfs admin balance --user stranger
grep -q "only .* may balance" "$T/err"

say "an empty one joins"
cluster_up --chunkservers 4 "${servers[@]}" 2>/dev/null
is 0 report 'next(s["used_bytes"] for s in d["servers"] if s["host"] == "host4")'
watch &
watcher=$!
dfs admin balance --threshold 2 --rate 8M --json >"$T/balanced" &
balancing=$!
wait_until 30 is True report 'next(s["chunks"] for s in d["servers"] if s["host"] == "host4") > 1'
leader=$(json dfs admin raft status -- 'd["leader"]')
say "the leader, fsmaster$leader, dies on the way"
kill9 "fsmaster$leader" 2>/dev/null
kill -0 $balancing || fail "it was through before the leader died"
wait $balancing
touch "$T/stop"
wait $watcher
sort "$T/spreads" | uniq -c
if grep -v '^2 2$\|^2 3$' "$T/spreads"; then
    fail "a chunk had fewer copies, or fewer racks"
fi
cat "$T/balanced"
/usr/bin/python3 -c '
import json, sys
d = json.load(open(sys.argv[1]))
assert d["even"] and d["most"] - d["least"] < 0.05, d' "$T/balanced"
wait_until 30 is $((2 * chunks)) held
is 0 report 'd["chunks"]["under_replicated"]'
for i in 1 2 3 4 5 6; do
    same_in_store "$T/file" "/d/$i"
done

say "there is nothing more to do"
dfs admin balance --threshold 2 | tee "$T/out"
grep -q "^balanced: .*; 0 chunks moved" "$T/out"
