#!/bin/bash
# The leader empties everybody's trash: what is old goes, what is young or is no part of a trash stays, users of more than
# one page are all visited, and what rm removes is gone in the end without anybody's doing.
. "$(dirname "$0")/../lib/cluster.sh"
cluster_up --chunkservers 2 --workers 0

# gone PATH: it is not there, said by somebody who knows.
gone()
{
    dfs stat / >/dev/null && ! dfs test -e "$1"
}
# bare PATH: a directory without entries.
bare()
{
    local got
    got=$(dfs ls -C "$1") && [ -z "$got" ]
}
restart()
{
    kill9 fsmaster1 fsmaster2 fsmaster3
    cluster_up
    wait_until 20 dfs stat /
}

say "old checkpoints go, of 600 users; everything else stays"
mapfile -t old < <(for ((i = 0; i < 600; i++)); do echo "/user/u$i/.Trash/200101010101/deep/er"; done)
dfs mkdir -p "${old[@]}"
dfs mkdir -p /user/ada/.Trash/Current/a /user/ada/.Trash/681231235959 /user/ada/.Trash/notes /user/ada/.Trash/20010101010 \
    /user/ada/200101010101 /user/bob/Trash/200101010101 /user/.Trash/200101010101 /other/.Trash/200101010101
echo file | dfs put - /user/file
echo file | dfs put - /user/bob/.Trash
young=$(date -u +%y%m%d%H%M%S)
dfs mkdir "/user/ada/.Trash/$young"
restart # a new leader looks at once
empty()
{
    local got
    got=$(dfs find /user -name 200101010101 -type d) || return 1
    ! grep -v -e ^/user/ada/200 -e ^/user/bob/Trash -e ^/user/.Trash <<<"$got"
}
wait_until 60 empty
for path in /user/ada/.Trash/Current/a /user/ada/.Trash/681231235959 /user/ada/.Trash/notes /user/ada/.Trash/20010101010 \
    /user/ada/200101010101 /user/bob/Trash/200101010101 /user/.Trash/200101010101 /other/.Trash/200101010101 \
    /user/file /user/bob/.Trash "/user/ada/.Trash/$young" /user/u599/.Trash; do
    dfs test -e "$path" || fail "$path is gone"
done
told()
{
    [ "$(cat "$CLUSTER"/fsmaster*/log | grep -c 'trash: deleted path=/user/u[0-9]*/.Trash/200101010101 ')" = 600 ]
}
wait_until 20 told

say "rm itself leaves the trash alone, unless it is told"
echo x | dfs put - /x
echo y | dfs put - /y
dfs rm /x
dfs rm --trash-keep 0 /y
[ "$(dfs ls -C .Trash)" = .Trash/Current ]

say "what was removed is a checkpoint after the time that is kept, and gone after another"
cluster_down
cluster_up --fsmaster-arg=--trash-keep --fsmaster-arg=3s
wait_until 60 bare .Trash
wait_until 20 grep -q 'trash: made a checkpoint of path=/user/[^/]*/.Trash/Current ' "$CLUSTER"/fsmaster*/log
echo z | dfs put - /z
dfs rm /z
expect 1 dfs test -e /z
wait_until 60 gone .Trash/Current
wait_until 60 bare .Trash
dfs test -e /user/ada/.Trash/notes
expect 1 dfs undelete /z
