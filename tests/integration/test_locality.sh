#!/bin/bash
# Six labelled hosts, two copies, chunks of 4 MiB: at least 90 % of the maps run on a host that has their bytes. The
# same job, scheduled blind to where bytes are, runs about a third there, so the figure is the scheduler's work.
. "$(dirname "$0")/../lib/cluster.sh"
cluster_up --chunkservers 6 --workers 6 --hosts 6 --racks 3
text=$T/text
yes "$(cat "$TRIREME_SOURCE/README.md" "$TRIREME_SOURCE/LICENSE")" 2>/dev/null | head -c 289000000 >"$text" || true
dfs put --replication 2 --chunk-size 4M "$text" /text

# locality OPTION...: the job's own report, checked against the sum of its maps; prints percent on the maps' own hosts.
locality()
{
    local output=$1
    shift
    mr run --json --lib "$TRIREME_BUILD/wordcount.so" -i /text -o "$output" -r 2 --split-size 2M -q "$@" >"$T/json"
    /usr/bin/python3 -c '
import json, sys
status = json.load(open(sys.argv[1]))
maps, tasks, read = status["maps"]["total"], status["locality"]["tasks"], status["locality"]["bytes"]
host, rack, elsewhere = tasks["host"], tasks["rack"], tasks["elsewhere"]
share = 100 * read["host"] / sum(read.values())
print(f"    {maps} maps: {host} on host, {rack} in rack, {elsewhere} elsewhere; {share:.1f} % of bytes on host",
      file=sys.stderr)
assert maps >= 64, "too few splits to say anything"
assert host + rack + elsewhere == maps, "not every map is counted once"
print(100 * host // maps)' "$T/json"
}

say "near the bytes"
near=$(locality /near)
say "blind"
blind=$(locality /blind --locality-blind)
say "$near % near, $blind % blind"
[ "$near" -ge 90 ] || fail "only $near % of the maps ran on their own host"
[ "$blind" -ge 20 ] && [ "$blind" -le 50 ] || fail "blind scheduling gave $blind %, about 33 expected"
for output in /near /blind; do
    dfs cat "$output/part-*" | sort >"$T${output}"
done
same_bytes "$T/near" "$T/blind"
