#!/bin/bash
# A chunkserver that was started again and then hangs while its chunk is sealed holds a replica that nobody will report
# again: the master asks for it when the server is there again, and the file gets its third copy although there is no
# other server that could take one.
. "$(dirname "$0")/../lib/cluster.sh"
. "$(dirname "$0")/../lib/kill.sh"
cluster_up --masters 1 --chunkservers 3 --workers 0

random_file "$T/begin" 50000 5
random_file "$T/end" 70000 6
cat "$T/begin" "$T/end" >"$T/all"
slow_writer /file
cat "$T/begin" >&9
wait_until 20 reads_back "$T/begin" /file

say "the writer is stopped, so that the broken chain is not told before the chunkserver has reported what it has"
kill -STOP $writer
kill9 chunkserver3 2>/dev/null
cluster_up 2>/dev/null
started_again()
{
    grep 'chunkserver joined server=.* start=2' "$CLUSTER/fsmaster1/log" && is 3 held
}
wait_until 20 started_again
server=$(sed -n 's/.*chunkserver joined server=\([0-9]*\) .* start=2/\1/p' "$CLUSTER/fsmaster1/log")

say "chunkserver $server hangs, and the chunk is sealed without it"
pause chunkserver3 2>/dev/null
kill -CONT $writer
cat "$T/end" >&9
logged()
{
    grep "$1" "$CLUSTER/fsmaster1/log"
}
wait_until 30 logged 'recovery: sealed chunk=1 '
wait_until 30 logged "recovery: not fenced chunk=1 server=$server "
resume chunkserver3 2>/dev/null
exec 9>&-
wait $writer

wait_until 60 all_copies_good
same_in_store "$T/all" /file
say "its third copy is there, and its bytes are right on each server alone"
is 3 json dfs loc /file -- 'min(len(c["replicas"]) for f in d for c in f["chunks"])'
for alive in 1 2 3; do
    kill9 $(printf 'chunkserver%s\n' 1 2 3 | grep -v $alive) 2>/dev/null
    same_in_store "$T/all" /file
    cluster_up 2>/dev/null
done
