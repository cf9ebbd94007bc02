#!/bin/bash
# kill -9 of any of three fsmasters, three times in four the leader, under puts, renames, removals and MapReduce jobs one
# after another: nothing acknowledged is lost, every job is right, no command fails.
. "$(dirname "$0")/../lib/cluster.sh"
. "$(dirname "$0")/../lib/kill.sh"
rounds=5
if [ "$TRIREME_FULL" = 1 ]; then
    rounds=50
fi
cluster_up --masters 3 --chunkservers 4 --workers 3 --slots 2
export LC_ALL=C
cat "$TRIREME_SOURCE"/{README.md,LICENSE,docs/*.md} >"$T/all"
head -c 100000 "$T/all" >"$T/text"
dfs put "$T/text" /text
tr -s ' \t\r\v\f' '\n' <"$T/text" | grep -a -v '^$' | sort | uniq -c |
    sed -E 's/^ *([0-9]+) (.*)$/\2\t\1/' | sort >"$T/reference"
examples=$TRIREME_SOURCE/mapreduce/examples/streaming
random_file "$T/large" 3000017 5
for directory in /puts /large /names /gone; do
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
        echo "content of $i" | timed dfs put - "/puts/$i"
        echo "$i" >>"$T/acked.puts"
    done
}

# Three chunks each: allocations and seals while the master goes.
large_puts()
{
    local i
    for ((i = 0; ; i++)); do
        running || break
        timed dfs put --chunk-size 1M "$T/large" "/large/$i"
        echo "$i" >>"$T/acked.large"
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

# A removal that ran twice would not find its file.
removals()
{
    local i
    for ((i = 0; ; i++)); do
        running || break
        echo x | timed dfs put - "/gone/$i"
        timed dfs rm -skipTrash "/gone/$i"
    done
}

# Each map waits a little, so that a job meets a kill and still costs little of the processor.
word_count()
{
    mr run --json --mapper 'sleep 0.4; ./wordcount_map' --file "$examples/wordcount_map" \
        --reducer 'sleep 0.2; ./wordcount_reduce' --file "$examples/wordcount_reduce" \
        -i /text -o "$1" -r 3 --split-size 16K >"$T$1.json" 2>"$T$1.err" || { cat "$T$1.err" >&2; return 1; }
}

jobs()
{
    local i
    for ((i = 0; ; i++)); do
        running || break
        timed word_count "/job$i"
        echo "/job$i" >>"$T/acked.jobs"
    done
}

leader()
{
    dfs admin raft status --json | /usr/bin/python3 -c '
import json, sys
leader = json.load(sys.stdin)["leader"]
print(f"fsmaster{leader}")
sys.exit(leader == 0)'
}

there_is_a_leader()
{
    leader >"$T/leader"
}

# all_well: everybody answers, in one term.
all_well()
{
    dfs admin raft status --json | /usr/bin/python3 -c '
import json, sys
members = json.load(sys.stdin)["members"]
print(members)
sys.exit(any(not m["reachable"] for m in members) or len({m["term"] for m in members}) != 1)'
}

puts &
large_puts &
renames &
removals &
jobs &
leaders=0
for ((round = 1; round <= rounds; round++)); do
    nap 900
    wait_until 30 all_well
    wait_until 30 there_is_a_leader
    victim=$(cat "$T/leader")
    if [ $((RANDOM % 4)) = 0 ]; then
        victim=fsmaster$((RANDOM % 3 + 1))
    fi
    if [ "$victim" = "$(cat "$T/leader")" ]; then
        leaders=$((leaders + 1))
    fi
    strike "$victim"
    nap 900
    cluster_up 2>/dev/null # what died comes back, and the group may go on without it
    nothing_failed
    say "round $round, $victim died, $(cat "$T/leader") led: $(wc -l <"$T/acked.puts") puts," \
        "$(cat "$T/acked.name") renames, $(cat "$T/acked.jobs" 2>/dev/null | wc -l) jobs acknowledged"
done
touch "$T/stop"
wait
nothing_failed
say "$leaders of $rounds kills hit the leader"
[ $leaders -gt 0 ]

say "nothing acknowledged is lost, nothing else is there"
names()
{
    dfs ls -C "$1" | sed "s|.*/||" | sort
}
sort "$T/acked.puts" >"$T/wanted"
names /puts | diff - "$T/wanted"
sort "$T/acked.large" >"$T/wanted.large"
names /large | diff - "$T/wanted.large"
cp "$T/acked.name" "$T/wanted.name"
names /names | diff - "$T/wanted.name"
[ -z "$(names /gone)" ]
while read -r name; do
    [ "$(dfs cat "/puts/$name")" = "content of $name" ] || fail "/puts/$name has other content"
done < <(awk -v step=$(($(wc -l <"$T/wanted") / 60 + 1)) 'NR % step == 0' "$T/wanted")
while read -r i; do
    same_in_store "$T/large" "/large/$i"
done < <(awk -v step=$(($(wc -l <"$T/wanted.large") / 20 + 1)) 'NR % step == 0' "$T/wanted.large")
while read -r job; do
    dfs cat "$job/part-*" | sort | cmp - "$T/reference" || fail "$job differs from sort | uniq -c"
    dfs stat "$job/_SUCCESS" >/dev/null
done <"$T/acked.jobs"
wait_until 60 all_copies_good
strikes_check $rounds

# How long commands took that ran through a kill, beside the others.
awk 'NR == FNR { before[NR] = $1; after[NR] = $2; n = NR; next }
    $4 != "word_count" {
        through = 0
        for (i = 1; i <= n; i++) if ($1 < before[i] && $2 > after[i]) through = 1
        took = $2 - $1
        if (through) { t++; if (took > tmax) tmax = took } else { o++; if (took > omax) omax = took }
    }
    END { printf "--- longest command: %.2f s of %d that ran through a kill, %.2f s of %d others (jobs left out)\n", \
        tmax, t, omax, o }' "$T/strikes/all" <(cat "$T"/ops/*)
