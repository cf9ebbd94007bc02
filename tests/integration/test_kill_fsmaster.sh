#!/bin/bash
# kill -9 of the only fsmaster under concurrent puts, mkdirs, renames and deletes, and restart: commands that run wait
# and go on, every one of them succeeds exactly once, and nothing acknowledged is lost.
. "$(dirname "$0")/../lib/cluster.sh"
. "$(dirname "$0")/../lib/kill.sh"
rounds=6
if [ "$TRIREME_FULL" = 1 ]; then
    rounds=60
fi
cluster_up --masters 1 --chunkservers 4 --workers 0
random_file "$T/large" $((20 * 1024 * 1024 + 99)) 5
for directory in /puts /dirs /names /gone /slow; do
    dfs mkdir $directory
done

running()
{
    [ ! -e "$T/stop" ]
}

# Each file has its own name as content.
puts()
{
    local i
    for ((i = 0; ; i++)); do
        running || break
        echo "content of $1.$i" | timed dfs put - "/puts/$1.$i"
        echo "$1.$i" >>"$T/acked.puts.$1"
    done
}

# A mkdir that ran twice would fail the second time: without -p an existing directory is an error.
mkdirs()
{
    local i
    for ((i = 0; ; i++)); do
        running || break
        timed dfs mkdir "/dirs/$i"
        echo "$i" >>"$T/acked.dirs"
    done
}

# One file walks from name to name. A rename that ran twice would not find its source.
renames()
{
    local i
    echo walker | timed dfs put - /names/0
    for ((i = 0; ; i++)); do
        running || break
        timed dfs rename "/names/$i" "/names/$((i + 1))"
        echo $((i + 1)) >"$T/acked.name"
    done
}

# What was removed stays removed; a removal that ran twice would not find its file.
removals()
{
    local i
    for ((i = 0; ; i++)); do
        running || break
        echo x | timed dfs put - "/gone/$i"
        timed dfs rm -skipTrash "/gone/$i"
    done
}

# Bytes flow while the master is away: the chunkservers do not need it, the next chunk waits for it.
slow_puts()
{
    local i
    for ((i = 0; ; i++)); do
        running || break
        timed slow_put "/slow/$i"
        echo "$i" >>"$T/acked.slow"
    done
}

slow_put()
{
    { head -c 9000000 "$T/large"; sleep 0.4; tail -c +9000001 "$T/large"; } | dfs put --chunk-size 1M - "$1"
}

puts a &
puts b &
mkdirs &
renames &
removals &
slow_puts &
for ((round = 1; round <= rounds; round++)); do
    nap 800
    strike fsmaster1
    nap 600
    cluster_up 2>/dev/null
    nothing_failed
    say "round $round: $(cat "$T"/acked.puts.* | wc -l) puts, $(wc -l <"$T/acked.dirs") directories," \
        "$(cat "$T/acked.name") renames acknowledged"
    wait_until 30 dfs ls / # it serves
done
touch "$T/stop"
wait
nothing_failed

say "nothing acknowledged is lost, nothing else is there"
cat "$T"/acked.puts.* | sort >"$T/wanted"
names()
{
    dfs ls -C "$1" | sed "s|.*/||" | sort
}
names /puts | diff - "$T/wanted"
sort "$T/acked.dirs" >"$T/wanted.dirs"
names /dirs | diff - "$T/wanted.dirs"
cp "$T/acked.name" "$T/wanted.name"
names /names | diff - "$T/wanted.name"
[ -z "$(names /gone)" ]
while read -r name; do
    [ "$(dfs cat "/puts/$name")" = "content of $name" ] || fail "/puts/$name has other content"
done < <(awk -v step=$(($(wc -l <"$T/wanted") / 60 + 1)) 'NR % step == 0' "$T/wanted")
while read -r i; do
    same_in_store "$T/large" "/slow/$i"
done <"$T/acked.slow"
strikes_check $rounds
