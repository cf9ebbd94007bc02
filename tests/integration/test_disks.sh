#!/bin/bash
# Disks in a whole cluster: one whose flush fails takes its chunkserver along, and no writer notices; rot on one of them is
# found in the background and replaced from a good copy; after everything was killed at once nothing is missing, copied or
# deleted; full ones refuse new files, saying so, keep what they have, and take new ones again when there is room.
. "$(dirname "$0")/../lib/cluster.sh"
arguments=(--chunkserver-arg=--capacity=96M --chunkserver-arg=--scrub-rate=64M --fsmaster-arg=--http=127.0.0.1:0)
cluster_up --masters 3 --chunkservers 4 --workers 0 "${arguments[@]}"

all_good()
{
    is "[]" why && is 0 report 'd["chunks"]["missing"] + d["chunks"]["unheard"] + d["chunks"]["under_replicated"]'
}

why()
{
    dfs why --json / | /usr/bin/python3 -c '
import json, sys
print([c["chunk"] for c in json.load(sys.stdin) if c["reason"] != "nothing"])'
}

# metric NAME: its sum over the file masters as they run now.
metric()
{
    for log in "$CLUSTER"/fsmaster*/log; do
        curl_metric "$(sed -n 's/.* metrics port=\([0-9]*\)$/\1/p' "$log" | tail -n 1)" "$1"
    done | awk '{ sum += $1 } END { print sum + 0 }'
}

curl_metric()
{
    /usr/bin/python3 -c '
import sys, urllib.request
with urllib.request.urlopen(f"http://127.0.0.1:{sys.argv[1]}/metrics") as page:
    for line in page.read().decode().splitlines():
        if line.startswith(sys.argv[2] + " "):
            print(line.split()[1])
            sys.exit(0)
sys.exit("no " + sys.argv[2])' "$1" "$2"
}

random_file "$T/file" 3000001 6
dfs mkdir /d
for i in 1 2 3; do
    dfs put --chunk-size 1M "$T/file" "/d/$i"
done
wait_until 30 all_good

say "rot is found by the scrubber and replaced"
read -r chunk host <<<"$(dfs loc --json /d/1 | /usr/bin/python3 -c '
import json, sys
c = json.load(sys.stdin)[0]["chunks"][1]
print(c["chunk"], c["replicas"][0]["host"])')"
data=$(cluster_field "chunkserver${host#host}" data)
file=$(find "$data/chunks" -name "$(printf '%016x' "$chunk")")
[ -f "$file" ] || fail "no file of chunk $chunk in $data/chunks"
cp "$file" "$T/good"
printf 'rot' | dd of="$file" bs=1 seek=70000 conv=notrunc status=none
if cmp -s "$file" "$T/good"; then
    fail "the chunk is not rotten"
fi
wait_until 60 grep -q "chunk is damaged chunk=$chunk" "$CLUSTER/chunkserver${host#host}/log"
# three_good FILE NAME: three chunkservers have it, each with these bytes. The file masters hear of damage a little after it is seen.
three_good()
{
    local f count=0
    for f in "$CLUSTER"/chunkserver*/data/chunks/*/"$2"; do
        cmp -s "$1" "$f" || return 1
        count=$((count + 1))
    done
    [ "$count" = 3 ]
}
wait_until 60 three_good "$T/good" "$(basename "$file")"
wait_until 60 all_good
same_in_store "$T/file" /d/1
[ "$(metric trireme_fsmaster_repair_copies_total)" -ge 1 ] || fail "the metric knows of no copy"

say "everything is killed at once: nothing is missing, copied or deleted"
held=$(held)
kill9 fsmaster1 fsmaster2 fsmaster3 chunkserver1 chunkserver2 chunkserver3 chunkserver4 2>/dev/null
cluster_up 2>/dev/null
wait_until 60 all_good
for i in 1 2 3; do
    same_in_store "$T/file" "/d/$i"
done
is "$held" held || fail "other replicas than the $held of before"
is 0 metric trireme_fsmaster_repair_copies_total || fail "copies were made"
is 0 metric trireme_fsmaster_replicas_deleted_total || fail "replicas were deleted"

if command -v strace >/dev/null; then
    say "a disk fails: its chunkserver ends at once, and writers go on elsewhere"
    strace -f -o /dev/null -p "$(cluster_field chunkserver2 pid)" -e trace=fdatasync \
        -e inject=fdatasync:error=EIO 2>"$T/strace.log" &
    strace=$!
    wait_until 20 grep -q attached "$T/strace.log"
    i=0
    while ! is None cluster_field chunkserver2 pid; do
        i=$((i + 1))
        [ $i -le 30 ] || fail "30 files later it still runs"
        dfs put --chunk-size 1M "$T/file" /d/onto-a-bad-disk
        same_in_store "$T/file" /d/onto-a-bad-disk
        dfs rm --skip-trash /d/onto-a-bad-disk >/dev/null
    done
    wait $strace || true
    tail -n 1 "$CLUSTER/chunkserver2/log"
    grep -q "Input/output error\|EIO\|ERR_IO" "$CLUSTER/chunkserver2/log"
    cluster_up 2>/dev/null
    wait_until 60 all_good
    for i in 1 2 3; do
        same_in_store "$T/file" "/d/$i"
    done
    wait_until 60 is "$held" held
else
    say "no strace: a disk that fails is not tried"
fi

say "full disks refuse, and say so"
random_file "$T/large" $((8 * 1024 * 1024)) 7
full()
{
    local i
    for ((i = 1; i < 20; i++)); do
        dfs put --timeout 8s --chunk-size 8M "$T/large" "/d/large.$i" 2>"$T/err" || break
        echo "$i" >"$T/written"
    done
    [ $i -lt 20 ]
}
full || fail "nothing ever gets full"
tail -n 1 "$T/err" | grep -q "/d/large\.[0-9]*: .*too few live chunkservers in service with room" ||
    { cat "$T/err"; fail "its last word is not what and why"; }
# Words of its own: those of the put before are in the other file.
dfs put --chunk-size 8M "$T/large" /d/stopped 2>"$T/stopped.err" &
putting=$!
wait_until 30 grep -q "waiting: too few" "$T/stopped.err"
kill -TERM $putting
status=0
wait $putting || status=$?
[ "$status" = 130 ] || { cat "$T/stopped.err"; fail "status $status of a put that was ended while it waited"; }
grep -q "interrupted while it waited" "$T/stopped.err"
expect 1 dfs test -e /d/stopped
wait_until 30 all_good
for ((i = 1; i <= $(cat "$T/written"); i++)); do
    same_in_store "$T/large" "/d/large.$i"
done
expect 1 dfs ls "/d/large.$(($(cat "$T/written") + 1))"

say "there is room again"
dfs rm --skip-trash '/d/large.*' >/dev/null
wait_until 60 is 9 report 'd["chunks"]["total"]'
wait_until 60 is "$held" held
wait_until 30 dfs put --timeout 8s --chunk-size 8M "$T/large" /d/again
same_in_store "$T/large" /d/again
