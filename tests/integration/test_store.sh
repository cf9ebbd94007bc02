#!/bin/bash
# The store as its users have it: bytes go in and come out unchanged at every size that matters, names behave, and a
# chunkserver or the file master may be killed at any moment without a command failing or a byte being lost.
. "$(dirname "$0")/../lib/cluster.sh"

cluster_up --chunkservers 4 --workers 0
cd "$T"
MIB=1048576

# ---- Sizes --------------------------------------------------------------------------------------------------------------

# put and get one file of so many bytes, in chunks of 1 MiB, read in each of the ways there are.
round_trip()
{
    random_file in "$1" "$1"
    dfs put --chunk-size 1M in "/sizes/$1"
    [ "$(dfs stat '%b' "/sizes/$1")" = "$1" ] || fail "length of /sizes/$1"
    same_in_store in "/sizes/$1"
    dfs get -f "/sizes/$1" out
    same_bytes in out
    TRIREME_HOST=host1 dfs get -f "/sizes/$1" out
    same_bytes in out
    TRIREME_HOST=host1 dfs cat --no-local-reads "/sizes/$1" | cmp - in
}

say "sizes"
dfs mkdir /sizes
for size in 0 1 65535 65536 65537 $((MIB - 1)) $MIB $((MIB + 1)) $((2 * MIB)) 5000001; do
    round_trip $size
done
dfs cat '/sizes/6553[567]' >out
cat /dev/null >in
for size in 65535 65536 65537; do
    random_file part $size $size
    cat part >>in
done
same_bytes in out
[ "$(dfs loc /sizes/5000001 | wc -l)" = 5 ] || fail "a file of 5000001 bytes in chunks of 1 MiB has 5 of them"
[ "$(dfs loc /sizes/5000001 | cut -f5 | tr , '\n' | wc -l)" = 15 ] || fail "3 copies of 5 chunks"

say "standard input, a directory and back"
random_file in 3000000 9
dfs put - /stdin <in
same_in_store in /stdin
mkdir -p tree/a/b
random_file tree/x 100 1
random_file tree/a/y 70000 2
: >tree/a/b/empty
dfs put tree /
dfs get /tree copy
diff -r tree copy
expect 1 dfs put tree/x /tree/x
expect 1 dfs get /tree/x tree/x
dfs put -f in /tree/x
same_in_store in /tree/x
expect 1 dfs cat /no/such
[ "$(cat err)" = "cat: \`/no/such': No such file or directory" ] || fail "error text: $(cat err)"

say "many files at a time"
mkdir -p forest
for i in $(seq 40); do
    mkdir -p "forest/$((i % 7))/$((i % 3))"
    random_file "forest/$((i % 7))/$((i % 3))/$i" $((i * i * 1000)) "$i"
done
dfs put -t 8 --chunk-size 1M forest /
dfs cp -t 8 /forest /wood
dfs get -t 8 /wood
diff -r forest wood
rm -r wood
dfs rm -r /wood

say "checksums from the books, and from the bytes"
dfs put in /sizes/4M
dfs put --chunk-size 1M in /sizes/1M
for flag in --verify --no-verify; do
    dfs checksum $flag '/sizes/[14]M' | cut -f3 | sort -u >"out$flag"
    [ "$(wc -l <"out$flag")" = 1 ] || fail "chunk sizes change the checksum: $(cat "out$flag")"
done
same_bytes out--verify out--no-verify

say "a get that goes on"
# continues BYTES: get --continue copies so many, and then fetched is as the store has it.
continues()
{
    local bytes
    bytes=$(dfs get --continue --json /sizes/5000001 fetched | /usr/bin/python3 -c 'import json, sys
print(json.load(sys.stdin)["bytes"])')
    [ "$bytes" = "$1" ] || fail "get --continue copied $bytes bytes instead of $1"
    same_in_store fetched /sizes/5000001
}
(trap '' XFSZ; ulimit -f 3000; expect 1 dfs get --continue /sizes/5000001 fetched) # 3000 KiB, then EFBIG
[ ! -e fetched ] || fail "fetched is there"
[ "$(stat -c %s .fetched.dfs-part)" = $((3000 * 1024)) ] || fail "the part has $(stat -c %s .fetched.dfs-part) bytes"
continues $((5000001 - 3000 * 1024))
[ ! -e .fetched.dfs-part ] || fail "the part is still there"
continues 0
mv fetched .fetched.dfs-part
printf x | dd of=.fetched.dfs-part bs=1 seek=$((MIB + 5)) conv=notrunc status=none
continues $((5000001 - MIB)) # from the first piece that differs
head -c 4999999 fetched >short
cat short fetched >.fetched.dfs-part # longer than the file
rm fetched
continues $((5000001 - 4 * MIB))
mv short fetched
expect 1 dfs get --continue /sizes/5000001 fetched
grep -q 'File exists' err || fail "$(cat err)"
dfs get --continue -f /sizes/5000001 fetched
same_in_store fetched /sizes/5000001

if [ "$TRIREME_FULL" = 1 ]; then
    say "1 GiB"
    random_file big $((1024 * MIB)) 5
    dfs put big /big
    same_in_store big /big
    TRIREME_HOST=host2 dfs cat /big | cmp - big
    dfs rm /big
    rm big
fi

say "truncate"
random_file in 5000001 5000001
for size in 5000001 5000000 $((4 * MIB + 1)) $((4 * MIB)) 65537 1 0; do
    dfs truncate $size /sizes/5000001
    head -c $size in | cmp - <(dfs cat /sizes/5000001) || fail "truncated to $size"
done

say "append, and readers of an open file"
random_file in 1500000 11
random_file part 700001 12
dfs put --chunk-size 1M in /append
dfs append part /append
dfs append part part /append
cat part part part >>in
same_in_store in /append
mkfifo lines
dfs append --sync - /open <lines &
writer=$!
exec 7>lines
for i in 1 2 3; do
    echo "line $i" >&7
    wait_until 10 eval "dfs cat /open | grep -q 'line $i'"
    [ "$(dfs cat /open | wc -l)" = "$i" ] || fail "an open file shows $(dfs cat /open)"
done
[ "$(dfs tail -c 7 /open)" = "line 3" ] || fail "tail of an open file"
for refused in "append part" "truncate 0"; do
    # shellcheck disable=SC2086 # two words
    expect 1 dfs $refused /open
    grep -q 'being written' err || fail "$refused: no word of the other writer: $(cat err)"
done
kill9 chunkserver1
echo "line 4" >&7
wait_until 20 eval "dfs cat /open | grep -q 'line 4'"
exec 7>&-
wait $writer
[ "$(dfs cat /open | tr '\n' ,)" = "line 1,line 2,line 3,line 4," ] || fail "$(dfs cat /open)"
cluster_up
rm lines

# ---- Names --------------------------------------------------------------------------------------------------------------

say "rename table"
dfs mkdir -p /r/full/sub /r/empty /r/other
dfs touchz /r/f /r/g
expect 1 dfs rename /r/none /r/x               # no source
expect 1 dfs rename /r/f /r/g                  # file over file, not asked for
expect 1 dfs rename /r/f /r/none/x             # no parent
expect 1 dfs rename /r/full /r/full/sub/x      # into itself
expect 1 dfs rename -f /r/empty /r/full        # over a directory with entries
expect 1 dfs rename -f /r/f /r/empty           # file over directory
expect 1 dfs rename -f /r/empty /r/f           # directory over file
expect 1 dfs rename /r/empty /r/other          # directory over directory, not asked for
expect 0 dfs rename -f /r/empty /r/other       # over an empty one
expect 0 dfs rename -f /r/f /r/g               # file over file
expect 0 dfs rename /r/full /r/moved
[ "$(dfs ls -R -C /r | tr '\n' ' ')" = "/r/g /r/moved /r/moved/sub /r/other " ] || fail "$(dfs ls -R -C /r)"
expect 0 dfs mv /r/g /r/moved
dfs test -f /r/moved/g
expect 1 dfs rm /r/moved
expect 1 dfs rmdir /r/moved
expect 0 dfs rm -r /r
expect 1 dfs test -e /r
expect 0 dfs rm -f /r '/r*'

# ---- Many at once -------------------------------------------------------------------------------------------------------

say "concurrent writers"
dfs mkdir /many
pids=()
for i in $(seq 12); do
    random_file "w$i" $((i * 400000)) "$i"
    dfs put --chunk-size 1M "w$i" "/many/$i" &
    pids+=($!)
done
for pid in "${pids[@]}"; do
    wait "$pid"
done
for i in $(seq 12); do
    same_in_store "w$i" "/many/$i"
done

say "one name, many writers: one of them wins, whole"
pids=()
for i in $(seq 6); do
    dfs put "w$i" /one 2>/dev/null &
    pids+=($!)
done
won=0
for i in $(seq 6); do
    if wait "${pids[$((i - 1))]}"; then
        won=$((won + 1))
        winner=$i
    fi
done
[ $won = 1 ] || fail "$won writers won"
same_in_store "w$winner" /one

say "an upload that is interrupted leaves nothing"
mkfifo pipe
dfs put - /interrupted <pipe &
upload=$!
exec 7>pipe
head -c 5000000 /dev/zero >&7
kill -INT $upload
head -c 100000 /dev/zero >&7 || true
exec 7>&-
status=0
wait $upload || status=$?
[ $status = 130 ] || fail "exit status $status of an interrupted put"
expect 1 dfs test -e /interrupted

# ---- Kills --------------------------------------------------------------------------------------------------------------

# Data flows into a put slowly, so that the kill lands in the middle of it.
slow_input()
{
    local i
    for i in $(seq 24); do
        dd if="$1" bs=$MIB count=1 skip=$((i - 1)) status=none
        sleep 0.05
    done
}

# chunks_of PATH EXPRESSION: Python over `chunks`, the chunks of the file.
chunks_of()
{
    dfs loc --json "$1" | /usr/bin/python3 -c '
import json, sys
chunks = json.load(sys.stdin)[0]["chunks"]
print(eval(sys.argv[1]))' "$2"
}

# readable PATH BYTES: so much of a file that is being written is acknowledged, for a reader sees no more.
readable()
{
    [ "$(dfs cat "$1" | wc -c)" -ge "$2" ]
}

say "a writer that pauses does not keep readers from what it has sent"
random_file in $((3 * MIB + 77)) # the end fills no message
mkfifo pausing
dfs append - /pausing <pausing &
append=$!
exec 7>pausing
cat in >&7
wait_until 20 readable /pausing $((3 * MIB + 77))
exec 7>&-
wait $append
same_in_store in /pausing

# Lines far apart, to a new file and to an old one; none is followed by another before it has been seen.
say "what trickles in shows to readers, and goes on to when a chunkserver is killed in a pause"
echo "line 0" | dfs put - /trickle.old
for file in /trickle.new /trickle.old; do
    mkfifo trickling
    dfs append - $file <trickling &
    append=$!
    exec 7>trickling
    echo "line 1" >&7
    wait_until 20 eval "dfs cat $file | grep -q 'line 1'"
    dfs tail -f $file >followed &
    tail=$!
    echo "line 2" >&7
    wait_until 20 grep -q 'line 2' followed
    kill $tail
    victim=chunkserver$(chunks_of $file "chunks[-1]['replicas'][0]['host'].removeprefix('host')")
    kill9 "$victim"
    echo "line 3" >&7
    wait_until 30 eval "dfs cat $file | grep -q 'line 3'"
    exec 7>&-
    wait $append || fail "append during a kill of $victim"
    [ "$(chunks_of $file 'max(c["version"] for c in chunks)')" -gt 1 ] || fail "no chain of $file was broken"
    [ "$(dfs cat $file | grep -v 'line 0' | tr '\n' ,)" = "line 1,line 2,line 3," ] || fail "$(dfs cat $file)"
    cluster_up
    rm trickling
done

# strike_chain FILE PLACE COMMAND...: a file grows; when bytes of its open chunk are acknowledged, COMMAND strikes the server
# at this place of the chunk's chain ($victim). The chunk is then sealed at a higher version.
strike_chain()
{
    local file=$1 place=$2 append
    shift 2
    random_file in $((12 * MIB)) 77
    mkfifo "$T/growing"
    dfs append --sync - "$file" <"$T/growing" 2>"$T/append.err" &
    append=$!
    exec 7>"$T/growing"
    head -c $((3 * MIB)) in >&7
    wait_until 20 readable "$file" $MIB
    victim=chunkserver$(chunks_of "$file" "chunks[-1]['replicas'][$place]['host'].removeprefix('host')")
    "$@" "$victim"
    tail -c +$((3 * MIB + 1)) in >&7
    exec 7>&-
    wait $append || { cat "$T/append.err" >&2; fail "append during: $* $victim"; }
    rm "$T/growing"
    [ "$(chunks_of "$file" 'max(c["version"] for c in chunks)')" -gt 1 ] || fail "no chain of $file was broken"
    same_in_store in "$file"
}

live_servers()
{
    [ "$(dfs report --json | /usr/bin/python3 -c 'import json, sys
print(sum(s["live"] for s in json.load(sys.stdin)["servers"]))')" = "$1" ]
}

for place in 0 1 2; do
    say "kill -9 of the chunkserver at place $place of the chain of a chunk that is being written"
    strike_chain "/killed-$place" $place kill9
    cluster_up
    same_in_store in "/killed-$place"
done

say "a chunkserver hangs during an append and a get"
dfs put --chunk-size 4M in /before
strike_chain /hung 1 pause
TRIREME_HOST=elsewhere same_in_store in /hung
TRIREME_HOST=elsewhere same_in_store in /before
resume "$victim"
same_in_store in /hung

say "kill -9 of a chunkserver during a get"
random_file in $((24 * MIB)) 78
dfs put --chunk-size 4M in /get
victim=chunkserver$(dfs loc --json /get | /usr/bin/python3 -c 'import json, sys
print(json.load(sys.stdin)[0]["chunks"][-1]["replicas"][0]["host"].removeprefix("host"))')
mkfifo out.pipe
TRIREME_HOST=elsewhere dfs cat /get >out.pipe 2>"$T/get.err" &
get=$!
exec 8<out.pipe
head -c $MIB <&8 >out
kill -0 $get || fail "the get was over before the kill"
kill9 "$victim"
cat <&8 >>out
exec 8<&-
wait $get || { cat "$T/get.err" >&2; fail "get during the kill of $victim"; }
same_bytes in out
cluster_up

say "kill -9 of the file master during puts"
dfs mkdir /fs
pids=()
for i in 1 2 3; do
    random_file "s$i" $((24 * MIB)) "$i"
    slow_input "s$i" | dfs put --chunk-size 4M - "/fs/$i" 2>"$T/put$i.err" &
    pids+=($!)
done
sleep 0.4
for pid in "${pids[@]}"; do
    kill -0 "$pid" || fail "a put was over before the kill"
done
kill9 fsmaster1
sleep 0.3
cluster_up
for pid in "${pids[@]}"; do
    wait "$pid" || { cat "$T"/put?.err >&2; fail "put during the restart of the file master"; }
done
for i in 1 2 3; do
    same_in_store "s$i" "/fs/$i"
done
wait_until 30 live_servers 4

say "everything is still there"
for i in $(seq 12); do
    same_in_store "w$i" "/many/$i"
done
random_file in $((12 * MIB)) 77
for place in 0 1 2; do
    same_in_store in "/killed-$place"
done
# Short chunks are copied again: in the end nothing is under-replicated.
all_copies()
{
    [ "$(dfs report --json | /usr/bin/python3 -c 'import json, sys
c = json.load(sys.stdin)["chunks"]
print(c["under_replicated"] + c["missing"] + c["unheard"])')" = 0 ]
}
wait_until 90 all_copies
dfs fsck / >fsck.out || fail "$(cat fsck.out)"
grep -q '^HEALTHY$' fsck.out || fail "$(cat fsck.out)"

say "fsck finds what has no copy left, and that it is back"
random_file in 3000000 21
dfs put --replication 2 --chunk-size 1M in /few
mkfifo lines
dfs touchz /written
dfs setrep 1 /written
dfs append --sync - /written <lines &
writer=$!
exec 7>lines
echo synced >&7
wait_until 10 eval "dfs cat /written | grep -q synced"
dfs fsck /written >fsck.out || fail "$(cat fsck.out)"
grep -q ' open 1,' fsck.out || fail "$(cat fsck.out)"
chunks_lost()
{
    ! dfs fsck / >fsck.out && grep -q 'CORRUPT' fsck.out &&
        grep -q '^/few: chunk [0-9]* at 0: missing, 0 of 2 copies$' fsck.out &&
        grep -q '^/written: chunk [0-9]* at 0: missing, 0 of 1 copies$' fsck.out
}
mapfile -t holders < <(dfs loc /few | head -1 | cut -f5 | tr , '\n')
mapfile -t victims < <(printf '%s\n' "${holders[@]}" "$(dfs loc /written | cut -f5)" | sort -u)
kill9 "${victims[@]/#host/chunkserver}"
wait_until 60 chunks_lost
expect 1 dfs fsck /written
dfs why /few >why.out
grep -q '^/few: chunk [0-9]* at 0: version 1, 0 of 2 copies; waits for a chunkserver that has a copy to come back$' \
    why.out || fail "$(cat why.out)"
[ "$(grep -c "^    ${holders[0]}: its chunkserver is dead$" why.out)" -ge 1 ] || fail "$(cat why.out)"
dfs why "${holders[0]}" | grep -q ': dead: nothing heard of it for' || fail "$(dfs why "${holders[0]}")"
expect 1 hdfs fsck /few
grep -q "The filesystem under path '/few' is CORRUPT" out || fail "$(cat out)"
cluster_up
wait_until 60 dfs fsck /
same_in_store in /few
exec 7>&-
wait $writer
is synced dfs cat /written || fail "what was synced before its chunkserver was killed"
nothing_waits()
{
    [ "$(dfs why /few)" = "/few: 3 chunks are as they should be, 0 wait" ]
}
wait_until 60 nothing_waits
say "done"
