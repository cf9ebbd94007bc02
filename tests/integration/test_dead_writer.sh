#!/bin/bash
# A machine dies that is a file's writer and the first of its open chunk's servers, before the others have had a byte of it:
# the file's lease ends all the same, because they know that they never had the chunk, and somebody else can write the file.
. "$(dirname "$0")/../lib/cluster.sh"
cluster_up --masters 3 --chunkservers 3 --workers 0 --fsmaster-arg=--lease-ms=2000

random_file "$T/file" 3000001 8
slow_writer /file --host host3
has_chunk()
{
    is host3 json dfs loc /file -- 'd[0]["chunks"][0]["replicas"][0]["host"]'
}
wait_until 20 has_chunk
say "the writer and chunkserver3 die"
kill9 chunkserver3 2>/dev/null
kill -KILL $writer
exec 9>&-
wait_until 40 dfs append "$T/file" /file # refused while somebody else has the lease
same_in_store "$T/file" /file
cat "$CLUSTER"/fsmaster*/log >"$T/logs"
grep 'fenced chunk=1 server=[0-9]* found=0' "$T/logs" || fail "nobody was asked for the chunk"
grep 'not fenced chunk=1 ' "$T/logs" || fail "chunkserver3 was not asked for the chunk"
