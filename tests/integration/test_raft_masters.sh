#!/bin/bash
# Three file masters: kill -9 of the leader, again and again, under puts, mkdirs, renames and removals: every command
# succeeds exactly once and nothing acknowledged is lost; all three then agree; all of them killed and started at once go
# on; a member that lost its disk is nobody until it is added again under its new key.
. "$(dirname "$0")/../lib/cluster.sh"
. "$(dirname "$0")/../lib/kill.sh"
rounds=10
if [ "$TRIREME_FULL" = 1 ]; then
    rounds=50
fi
cluster_up --masters 3 --chunkservers 4 --workers 0
for directory in /puts /dirs /names /gone; do
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

# A mkdir that ran twice would fail the second time.
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

# group FIELD [MEMBER]: of dfs admin raft status, as its leader sees it.
group()
{
    dfs admin raft status --json | /usr/bin/python3 -c '
import json, sys
group = json.load(sys.stdin)
if len(sys.argv) > 2:
    group = next(m for m in group["members"] if str(m["id"]) == sys.argv[2])
print(group[sys.argv[1]])' "$@"
}

# The name of the member that leads.
leader()
{
    local id
    id=$(group leader)
    [ "$id" != 0 ] && echo "fsmaster$id"
}

there_is_a_leader()
{
    leader >"$T/leader"
}

# Everybody answers and stands at the same entry in the same term.
all_agree()
{
    dfs admin raft status --json | /usr/bin/python3 -c '
import json, sys
members = json.load(sys.stdin)["members"]
print(members)
wanted = int(sys.argv[1])
sys.exit(len(members) != wanted or any(not m["reachable"] for m in members)
         or len({(m["term"], m["last"], m["applied"]) for m in members}) != 1)' "$1"
}

puts a &
puts b &
mkdirs &
renames &
removals &
for ((round = 1; round <= rounds; round++)); do
    nap 600
    wait_until 30 there_is_a_leader
    strike "$(cat "$T/leader")"
    nap 900
    cluster_up 2>/dev/null # what died comes back, and the group may go on without it
    nothing_failed
    say "round $round, $(cat "$T/leader") died: $(cat "$T"/acked.puts.* | wc -l) puts," \
        "$(wc -l <"$T/acked.dirs") directories, $(cat "$T/acked.name") renames acknowledged"
done
touch "$T/stop"
wait
nothing_failed
wait_until 30 all_agree 3

names()
{
    dfs ls -C "$1" | sed "s|.*/||" | sort
}

check_everything()
{
    cat "$T"/acked.puts.* | sort >"$T/wanted"
    names /puts | diff - "$T/wanted"
    sort "$T/acked.dirs" >"$T/wanted.dirs"
    names /dirs | diff - "$T/wanted.dirs"
    cp "$T/acked.name" "$T/wanted.name"
    names /names | diff - "$T/wanted.name"
    [ -z "$(names /gone)" ]
}

say "nothing acknowledged is lost, nothing else is there"
check_everything
while read -r name; do
    [ "$(dfs cat "/puts/$name")" = "content of $name" ] || fail "/puts/$name has other content"
done < <(awk -v step=$(($(wc -l <"$T/wanted") / 60 + 1)) 'NR % step == 0' "$T/wanted")
strikes_check $rounds

say "each of them has the same state"
for id in 1 2 3; do
    wait_until 30 dfs admin raft transfer $id
    wait_until 30 test "fsmaster$id" = "$(leader || true)"
    check_everything
done

say "no replica of what was deleted is left, whoever led when it was"
servers_hold()
{
    dfs report --json | /usr/bin/python3 -c '
import json, sys
held = sum(s["chunks"] for s in json.load(sys.stdin)["servers"])
print(held, "replicas held")
sys.exit(held != int(sys.argv[1]))' "$1"
}
replication=$(dfs report --json | /usr/bin/python3 -c 'import json, sys; print(json.load(sys.stdin)["default_replication"])')
wait_until 60 servers_hold $(($(cat "$T"/acked.puts.* | wc -l) * replication + replication))

say "all at once"
kill9 fsmaster1 fsmaster2 fsmaster3
cluster_up
check_everything

say "a lost disk"
wait_until 30 there_is_a_leader
victim=$(sed 's/fsmaster//' "$T/leader")
kill9 "fsmaster$victim"
address=$(group address "$victim")
key=$(group key "$victim")
rm -rf "$CLUSTER/fsmaster$victim/data"
mkdir "$CLUSTER/fsmaster$victim/data"
dfs mkdir /while-away
"$DEVCLUSTER" up --dir "$CLUSTER" >/dev/null 2>&1 &
starting=$!
is_refused()
{
    grep -q "stream ended peer=$address error=ERR_STALE" "$CLUSTER"/fsmaster*/log
}
wait_until 30 is_refused
[ "$(group key "$victim")" = "$key" ]
[ "$(group reachable "$victim")" = False ] || fail "an empty directory passes for the one that was lost"
expect 1 dfs admin raft add "$address"
dfs admin raft remove "$victim"
dfs admin raft add "$address"
[ "$(group role "$victim")" = learner ]
caught_up()
{
    [ "$(group lag "$victim")" = 0 ] && dfs admin raft promote "$victim"
}
wait_until 30 caught_up
wait $starting
[ "$(group key "$victim")" != "$key" ]
wait_until 30 all_agree 3
wait_until 30 dfs admin raft transfer "$victim"
wait_until 30 test "fsmaster$victim" = "$(leader || true)"
check_everything
dfs ls -d /while-away
