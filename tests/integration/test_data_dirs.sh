#!/bin/bash
# Chunkservers with two data directories each, in a whole cluster: chunks lie on all of them; one whose disk fails is gone from
# the file masters' view at once, its chunks are copied anew while its chunkserver goes on, and report and why name it; after a
# restart it is back, and what was made anew meanwhile is one copy too many; one that is missing at the start is gone likewise.
. "$(dirname "$0")/../lib/cluster.sh"
cluster_up --masters 3 --chunkservers 4 --disks 2 --workers 0 --chunkserver-arg=--failed-disks-max=1 \
    --chunkserver-arg=--trash-time=1s --chunkserver-arg=--http=127.0.0.1:0

all_good()
{
    is 0 report 'd["chunks"]["missing"] + d["chunks"]["unheard"] + d["chunks"]["under_replicated"]' &&
        is 0 report 'd["replicas_deleting"]' && is "$held" held
}

# chunks DIR: how many chunk files it has.
chunks()
{
    find "$1/chunks" -type f | wc -l
}

# report of the failed disks of chunkserver N.
failed_disks()
{
    report "[s['failed_disks'] for s in d['servers'] if s['host'] == 'host$1'][0]"
}

# failed_metric N: what the metrics of chunkserver N say of failed disks.
failed_metric()
{
    local port
    port=$(sed -n 's/.* metrics port=\([0-9]*\)$/\1/p' "$CLUSTER/chunkserver$1/log" | tail -n 1)
    /usr/bin/python3 -c '
import sys, urllib.request
with urllib.request.urlopen(f"http://127.0.0.1:{sys.argv[1]}/metrics") as page:
    print(*(line.split()[1] for line in page.read().decode().splitlines()
            if line.startswith("trireme_chunkserver_failed_disks ")))' "$port"
}

files_are_good()
{
    local i
    for i in 1 2 3 4; do
        same_in_store "$T/file" "/d/$i"
    done
}

random_file "$T/file" 3000001 6
dfs mkdir /d
for i in 1 2 3 4; do
    dfs put --chunk-size 1M "$T/file" "/d/$i"
done
held=36 # 4 files of 3 chunks, 3 copies
wait_until 30 all_good

say "chunks lie on both disks of each"
for server in 1 2 3 4; do
    home=$CLUSTER/chunkserver$server
    a=$(chunks "$home/data") b=$(chunks "$home/disk2")
    if [ "$a" -lt 1 ] || [ "$b" -lt 1 ] || [ $((a - b)) -gt 1 ] || [ $((b - a)) -gt 1 ]; then
        fail "chunkserver$server has $a and $b chunks"
    fi
    same_bytes "$home/data/IDENTITY" "$home/disk2/IDENTITY"
done
is "[]" failed_disks 1

if command -v strace >/dev/null; then
    say "a disk fails: its chunkserver goes on, its chunks are copied anew at once"
    pid=$(cluster_field chunkserver2 pid)
    disk=$CLUSTER/chunkserver2/disk2
    files=()
    for file in "$disk"/index/*.log; do
        files+=(-P "$file")
    done
    strace -f -o /dev/null -p "$pid" "${files[@]}" -e trace=fdatasync -e inject=fdatasync:error=EIO 2>"$T/strace.log" &
    strace=$!
    wait_until 20 grep -q attached "$T/strace.log"
    for ((i = 1; i <= 30; i++)); do
        dfs put --chunk-size 1M "$T/file" /d/onto-a-bad-disk
        same_in_store "$T/file" /d/onto-a-bad-disk
        dfs rm --skip-trash /d/onto-a-bad-disk >/dev/null
        if grep -q "going on without a disk" "$CLUSTER/chunkserver2/log"; then
            break
        fi
    done
    [ "$i" -le 30 ] || fail "30 files later no disk has failed"
    wait_until 60 all_good
    is "$pid" cluster_field chunkserver2 pid || fail "the chunkserver has ended"
    is True report '[s["live"] for s in d["servers"] if s["host"] == "host2"][0]'
    files_are_good
    is 1 failed_metric 2
    is 0 failed_metric 1
    dfs report >"$T/report"
    grep "Chunkserver [0-9]* (host2) goes on without a disk: data directory $disk: .*nput/output error" "$T/report" ||
        { cat "$T/report"; fail "report does not say which disk failed"; }
    dfs why host2 | grep "goes on without a disk: data directory $disk: " || fail "why does not say which disk failed"
    kill $strace
    wait $strace || true

    say "after a restart it is back, with its chunks"
    kill9 chunkserver2
    cluster_up 2>/dev/null
    wait_until 30 is "[]" failed_disks 2
    wait_until 60 all_good
    files_are_good
else
    say "no strace: a disk that fails is not tried"
fi

say "a disk is missing at the start"
disk=$CLUSTER/chunkserver3/disk2
kill9 chunkserver3
mv "$disk" "$disk.away"
cluster_up 2>/dev/null
wait_until 30 is "['data directory $disk: it is not there']" failed_disks 3
is 1 failed_metric 3
wait_until 60 all_good
files_are_good
[ ! -e "$disk" ] || fail "the missing directory was made"

say "a new disk takes its place"
mkdir "$disk"
kill9 chunkserver3
cluster_up 2>/dev/null
wait_until 30 is "[]" failed_disks 3
wait_until 60 all_good
dfs put --chunk-size 1M "$T/file" /d/new
held=$((held + 9))
wait_until 60 all_good
files_are_good

say "the old one comes back beside it: stale and spare copies go"
dfs rm --skip-trash /d/1 >/dev/null # while it is away
held=$((held - 9))
wait_until 60 all_good
kill9 chunkserver3
rm -r "$disk"
mv "$disk.away" "$disk"
cluster_up 2>/dev/null
wait_until 60 all_good
for i in 2 3 4 new; do
    same_in_store "$T/file" "/d/$i"
done
