#!/bin/bash
# Quotas hold against many writers at a time, and file masters that are killed come back with the same sums, the same
# quotas and the same refusals.
. "$(dirname "$0")/../lib/cluster.sh"
cluster_up --chunkservers 3 --workers 0
mib=1048576

# quota_says DIR: quota and use of names and space, as numbers.
quota_says()
{
    dfs admin --json quota "$1" | /usr/bin/python3 -c '
import json, sys
row = json.load(sys.stdin)[0]
print(row["names"], row["names_quota"], row["space"], row["space_quota"], row["reserved_bytes"])'
}

say "twelve puts at a time where four names are left"
dfs mkdir /names
dfs admin --names 5 quota /names
for ((i = 0; i < 12; i++)); do
    { echo $i | dfs put - /names/$i && echo $i >>"$T/done"; } 2>>"$T/refused" &
done
wait
[ "$(wc -l <"$T/done")" = 4 ]
[ "$(grep -c 'quota of names exceeded: 5 allowed, 5 used, 1 more asked for, in directory /names' "$T/refused")" = 8 ]
[ "$(quota_says /names)" = "5 5 $(dfs count -q --json /names | grep -o '"space": [0-9]*' | tail -1 | cut -d' ' -f2) None 0" ]

say "eight appends at a time where two open chunks of three copies are left"
dfs mkdir /space
for ((i = 0; i < 8; i++)); do
    echo begin | dfs put --chunk-size $mib - /space/$i
done
begun=$((8 * 3 * 6))
dfs admin --space $((begun + 2 * 3 * mib)) quota /space
head -c $((mib / 2)) /dev/zero >"$T/half"
for ((i = 0; i < 8; i++)); do
    { dfs append "$T/half" /space/$i && echo $i >>"$T/appended"; } 2>>"$T/refused2" &
done
wait
# Each holds a chunk's room while it writes and half of that afterwards: two or three can be through, never more.
appended=$(wc -l <"$T/appended")
[ "$appended" -ge 2 ] && [ "$appended" -le 3 ]
grep -q "quota of space exceeded: $((begun + 2 * 3 * mib)) bytes allowed" "$T/refused2"
[ "$(quota_says /space)" = "9 None $((begun + appended * 3 * mib / 2)) $((begun + 2 * 3 * mib)) 0" ]

say "a put that is too large is refused before its bytes are sent"
random_file "$T/large" $((8 * mib))
expect 1 dfs put "$T/large" /space/large
grep -q "$((24 * mib)) more asked for" "$T/err"
expect 0 dfs put "$T/large" /large

say "killed while writers hold room, the file masters come back with all of it"
dfs admin --space none quota /space
dfs admin --space $((64 * mib)) quota /space
mkfifo "$T/slow"
dfs append --sync - /space/0 <"$T/slow" &
writer=$!
exec 7>"$T/slow"
head -c 1000 /dev/zero >&7
wait_until 20 eval '[ "$(quota_says /space | cut -d" " -f5)" = '$((3 * mib))' ]'
before=$(quota_says /space)
names_before=$(quota_says /names)
kill9 fsmaster1 fsmaster2 fsmaster3
cluster_up
wait_until 20 eval '[ "$(quota_says /space)" = "'"$before"'" ]'
[ "$(quota_says /names)" = "$names_before" ]
expect 1 dfs touchz /names/more
grep -q '5 allowed, 5 used' "$T/err"
exec 7>&-
wait $writer
[ "$(quota_says /space | cut -d' ' -f5)" = 0 ]
dfs rm -skipTrash /names/"$(head -1 "$T/done")"
expect 0 dfs touchz /names/more
expect 1 dfs mv /large /names/large
expect 0 dfs mv -f /large /names/more
