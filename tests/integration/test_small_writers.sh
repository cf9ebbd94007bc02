#!/bin/bash
# Sixteen writers of small files at a time; the table of what rename does; a file that is read while it is written shows
# a prefix of its bytes that only grows, also when a chunkserver is killed under it.
. "$(dirname "$0")/../lib/cluster.sh"
. "$(dirname "$0")/../lib/kill.sh"
writers=16
each=12
if [ "$TRIREME_FULL" = 1 ]; then
    each=200
fi
cluster_up --chunkservers 4 --workers 0 --racks 2

say "$writers writers, $each files each, of sizes around those where storage changes"
sizes=(0 1 10 4095 65535 65536 65537 100000 131072 300000)
for i in "${!sizes[@]}"; do
    random_file "$T/size$i" "${sizes[$i]}" $((i + 1))
done
dfs mkdir /small
writer()
{
    local i
    for ((i = 0; i < each; i++)); do
        timed dfs put "$T/size$((($1 + i) % ${#sizes[@]}))" "/small/$1.$i"
    done
}
for ((w = 0; w < writers; w++)); do
    writer $w &
done
wait
nothing_failed
[ "$(dfs ls -C /small | wc -l)" = $((writers * each)) ]
dfs get /small "$T/back"
for ((w = 0; w < writers; w++)); do
    for ((i = 0; i < each; i++)); do
        same_bytes "$T/size$(((w + i) % ${#sizes[@]}))" "$T/back/$w.$i"
    done
done

say "rename"
# rename_gives STATUS TEXT OPTION... SOURCE TARGET, on fresh things: /r/f and /r/g are files, /r/e and /r/d/s empty
# directories, /r/d is one with an entry.
rename_gives()
{
    local status=$1 text=$2
    shift 2
    dfs rm -r /r 2>/dev/null || true
    dfs mkdir -p /r/d/s
    dfs mkdir /r/e
    echo f | dfs put - /r/f
    echo g | dfs put - /r/g
    dfs ls -C -R /r >"$T/tree"
    expect "$status" dfs rename "$@"
    grep -qi -- "$text" "$T/err" || [ -z "$text" ] || { cat "$T/err" >&2; fail "no '$text' in the error"; }
    if [ "$status" != 0 ]; then
        dfs ls -C -R /r | diff - "$T/tree" || fail "a rename that failed changed something"
    fi
}
rename_gives 0 '' /r/f /r/new
[ "$(dfs cat /r/new)" = f ]
expect 1 dfs stat /r/f
rename_gives 1 'exists' /r/f /r/g
rename_gives 0 '' -f /r/f /r/g
[ "$(dfs cat /r/g)" = f ]
rename_gives 1 'no such' /r/none /r/new
rename_gives 1 'no such' /r/f /r/none/new
rename_gives 1 'not a directory' /r/f /r/g/new
rename_gives 1 '' -f /r/f /r/d
rename_gives 1 '' -f /r/d /r/f
rename_gives 0 '' -f /r/d /r/e
expect 0 dfs stat /r/e/s
rename_gives 1 'not empty' -f /r/e /r/d
rename_gives 1 '' /r/d /r/d/s/below
rename_gives 1 '' / /r/root
rename_gives 0 '' /r/d /r/moved
expect 0 dfs stat /r/moved/s
expect 1 dfs stat /r/d

say "read while written"
program=$TRIREME_BUILD/tests/prefix
timed "$program" /growing 24000000 "$SEED" >"$T/prefix" &
growing=$!
sleep 0.3
strike chunkserver$((RANDOM % 4 + 1))
wait $growing
cat "$T/prefix"
nothing_failed
strikes_check 1
