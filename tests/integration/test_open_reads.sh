#!/bin/bash
# A reader of a file that is being written, next to a chunkserver that has lost the open chunk: what is acknowledged is read
# from the others, and the file is as long as they say; nobody that could tell is no end of the file, but an error.
. "$(dirname "$0")/../lib/cluster.sh"
cluster_up --masters 1 --chunkservers 3 --disks 2 --workers 0 --chunkserver-arg=--failed-disks-max=1

random_file "$T/begin" 2500000 7
slow_writer /file
cat "$T/begin" >&9
wait_until 20 reads_back "$T/begin" /file

say "the writer is stopped, so that its file stays open; chunkserver1 comes back without the disk that has the chunk"
kill -STOP $writer
kill9 chunkserver1 2>/dev/null
lost=
for disk in "$CLUSTER/chunkserver1/data" "$CLUSTER/chunkserver1/disk2"; do
    if [ -n "$(find "$disk/chunks" -type f)" ]; then
        lost=$disk
    fi
done
[ -n "$lost" ] || fail "chunkserver1 has no chunk"
mv "$lost" "$T/away"
cluster_up 2>/dev/null
wait_until 20 is 3 report 'sum(s["live"] for s in d["servers"])'
wait_until 20 is "[0]" report '[s["chunks"] for s in d["servers"] if s["host"] == "host1"]'
is True json dfs loc /file -- 'd[0]["chunks"][0]["open"]'

dfs --host host1 cat /file >"$T/read"
same_bytes "$T/begin" "$T/read"
is "$(tail -c 1024 "$T/begin" | md5sum)" bash -c 'dfs --host host1 tail /file | md5sum'

say "nobody answers: an error"
kill9 chunkserver1 chunkserver2 chunkserver3 2>/dev/null
expect 1 dfs --timeout 2s tail /file
cat "$T/err"
expect 1 dfs --timeout 2s cat /file
cat "$T/err"
kill -KILL $writer
exec 9>&-
