#!/bin/bash
# Extended attributes go up with put -p and down with get -p, of files and of directories, whatever bytes they have; they
# are there after all file masters were killed; many writers at a time keep within the number that is allowed.
. "$(dirname "$0")/../lib/cluster.sh"

# local_set PATH NAME BYTES, local_get PATH: on the local file system.
local_set()
{
    /usr/bin/python3 -c 'import os, sys; os.setxattr(sys.argv[1], sys.argv[2], os.fsencode(sys.argv[3]))' "$@"
}
local_get()
{
    /usr/bin/python3 -c '
import os, sys
for name in sorted(os.listxattr(sys.argv[1])):
    print(name, os.getxattr(sys.argv[1], name))' "$1"
}
mkdir "$T/up"
local_set "$T/up" user.probe 1 2>/dev/null || skip "no extended attributes on the file system of $T"
cluster_up --chunkservers 3 --workers 0

say "up and down"
random_file "$T/up/f" 100000
mkdir "$T/up/d"
local_set "$T/up/f" user.text 'a text'
local_set "$T/up/f" user.bytes $'\x01\n\xff"'
local_set "$T/up/f" user.empty ''
local_set "$T/up/d" user.d directory
dfs put -p "$T/up" /up
dfs getfattr -R -d /up >"$T/all"
grep -q '^user.text="a text"$' "$T/all"
grep -q '^user.bytes=0sAQr/Ig==$' "$T/all"
grep -q '^user.d="directory"$' "$T/all"
dfs get -p /up "$T/down"
for path in . f d; do
    [ "$(local_get "$T/up/$path")" = "$(local_get "$T/down/$path")" ] || fail "$path came down otherwise"
done
dfs put "$T/up" /without
dfs getfattr -R -d /without >"$T/none"
! grep '^user' "$T/none" || fail "put without -p has put them"

say "thirty-two of forty at a time"
for ((i = 0; i < 40; i++)); do
    { dfs setfattr -n "user.n$i" -v $i /without/f && echo $i >>"$T/done"; } 2>>"$T/refused" &
done
wait
[ "$(wc -l <"$T/done")" = 32 ]
[ "$(grep -c 'more than 32 extended attributes' "$T/refused")" = 8 ]

say "all file masters are killed"
dfs getfattr -R -d /without >"$T/before"
kill9 fsmaster1 fsmaster2 fsmaster3
cluster_up
wait_until 20 dfs stat /without
dfs getfattr -R -d /without | diff "$T/before" - || fail "they are not as they were"
dfs getfattr -R -d /up | diff "$T/all" - || fail "they are not as they were"
dfs --stale 1h getfattr -d /without/f | diff - <(dfs getfattr -d /without/f) || fail "a read that may be old differs"
