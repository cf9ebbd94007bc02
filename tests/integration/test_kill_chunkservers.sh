#!/bin/bash
# kill -9 of any chunkserver at any moment during puts and gets, with four chunkservers and three copies: no command
# fails, everything acknowledged is byte-identical, and short chunks are copied again.
. "$(dirname "$0")/../lib/cluster.sh"
. "$(dirname "$0")/../lib/kill.sh"
rounds=4
if [ "$TRIREME_FULL" = 1 ]; then
    rounds=40
fi
servers=4
cluster_up --chunkservers $servers --workers 0 --racks 2 --fsmaster-arg=--server-dead-ms=2000
put=(dfs put --replication 3 --chunk-size 1M)

random_file "$T/small" 700001 2
random_file "$T/large" $((12 * 1024 * 1024 + 4321)) 3
dfs mkdir /d
dfs mkdir /slow
timed "${put[@]}" "$T/large" /d/before

# A file whose bytes come slowly, so that nearly always a chunk of it is open and has acknowledged bytes. It has its name
# from the start: so one can see which servers are its chain, and kill one of them.
slow_bytes()
{
    local i
    for i in {0..11}; do
        tail -c +$((i * 1048576 + 1)) "$T/large" | head -c $((i < 11 ? 1048576 : 2000000))
        sleep 0.1
    done
}

slow_append()
{
    slow_bytes | dfs append - "$1"
}

# chain_server PATH: one of those that hold the last chunk of a file; status 1 while it has none.
chain_server()
{
    dfs loc --json "$1" | /usr/bin/python3 -c '
import json, sys
replicas = json.load(sys.stdin)[0]["chunks"][-1]["replicas"]
print(replicas[int(sys.argv[1]) % len(replicas)]["host"].replace("host", "chunkserver"))' $RANDOM >"$T/victim" 2>&1
}

# The reader's pipe is full most of the time, so the get is under way when the kill comes.
slow_get()
{
    dfs cat /d/before | { sleep 0.7; cat; } | cmp - "$T/large"
}

fast_puts()
{
    local i
    for ((i = 0; ; i++)); do
        timed "${put[@]}" "$T/small" "/d/$1.small.$i"
        timed "${put[@]}" "$T/large" "/d/$1.large.$i"
        timed same_in_store "$T/large" "/d/$1.large.$i"
        [ ! -e "$T/stop.$1" ] || break
    done
}

# versions PATH: the version of each chunk. A chunk that lost its writer's chain was sealed at a higher one.
versions()
{
    dfs loc --json "$1" | /usr/bin/python3 -c '
import json, sys
print(*(chunk["version"] for chunk in json.load(sys.stdin)[0]["chunks"]))'
}

hits=0
for ((round = 1; round <= rounds; round++)); do
    timed slow_append "/slow/$round" &
    slow=$!
    timed slow_get &
    get=$!
    fast_puts "$round" &
    fast=$!
    nap 900
    wait_until 20 chain_server "/slow/$round"
    victim=$(cat "$T/victim")
    say "round $round: $victim"
    strike "$victim"
    if ((round % 2 == 0)); then # back at once: an open chunk meets a replica that was restarted
        cluster_up 2>/dev/null
    fi
    wait $slow $get
    touch "$T/stop.$round"
    wait $fast
    nothing_failed
    same_in_store "$T/large" "/slow/$round"
    if versions "/slow/$round" | grep -qE '(^| )([2-9]|[1-9][0-9])'; then
        hits=$((hits + 1))
    fi
    if ((round % 2 == 1)); then
        wait_until 20 live_servers_are $((servers - 1))
    fi
    wait_until 60 all_copies_good
    if ((round % 2 == 1)); then
        say "   copied again while $victim is away; it comes back"
        cluster_up 2>/dev/null
    fi
done
say "$hits of $rounds kills broke the chain of an open chunk of the slow file"
[ $hits -ge 1 ] || fail "no kill broke a chain: this run proved nothing"

say "everything is there, byte for byte, with any one server away"
dfs ls -C /d >"$T/names"
for ((server = 1; server <= servers; server += TRIREME_FULL ? 1 : 2)); do
    wait_until 60 all_copies_good
    kill9 chunkserver$server 2>/dev/null
    while read -r name; do
        case $name in
        *.small.*) same_in_store "$T/small" "$name" ;;
        *) same_in_store "$T/large" "$name" ;;
        esac
    done <"$T/names"
    for ((round = 1; round <= rounds; round++)); do
        same_in_store "$T/large" "/slow/$round"
    done
    cluster_up 2>/dev/null
done
say "$(wc -l <"$T/names") files and $rounds slow ones compared"
strikes_check $rounds
