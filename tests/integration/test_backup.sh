#!/bin/bash
# Backup under load and restore into an empty directory: what was there before the backup is there byte for byte, what
# came after is listed as orphans, kept through restarts and changes of leader, and deleted only when an operator
# releases it. A lost quorum: two of three directories destroyed, the survivor leads alone and has everything; the group
# grows to three again; chunkservers follow. Both refuse what they must.
. "$(dirname "$0")/../lib/cluster.sh"
. "$(dirname "$0")/../lib/kill.sh"
cluster_up --masters 3 --chunkservers 4 --workers 0
declare -A address
for id in 1 2 3; do
    address[$id]=$(cluster_field fsmaster$id address)
done

data()
{
    echo "$CLUSTER/fsmaster$1/data"
}

orphans()
{
    json dfs admin orphans -- "$1"
}

# Replicas on all chunkservers.
everybody_heard()
{
    is True orphans 'd["complete"]' && is 4 json dfs report -- 'sum(s["live"] for s in d["servers"])'
}

leader()
{
    json dfs admin raft status -- 'd["leader"] if d["role"] == "leader" else 0'
}

leads()
{
    is "$1" leader
}

all_agree()
{
    is True json dfs admin raft status -- \
        "[m['reachable'] for m in d['members']] == $1 * [True] and \
         len({(m['term'], m['last'], m['applied']) for m in d['members']}) == 1"
}

# grow ID: an empty file master becomes a voter.
grow()
{
    wait_until 30 dfs admin raft add "${address[$1]}"
    wait_until 30 dfs admin raft promote "$1"
}

# start_alone ID: all are started; only that one has a state.
start_alone()
{
    "$DEVCLUSTER" up --dir "$CLUSTER" >/dev/null 2>&1 &
    starting=$!
    wait_until 30 leads "$1"
}

# files DIRECTORY COUNT SEED: of different sizes, also locally.
files()
{
    local i
    mkdir -p "$T$1"
    for ((i = 1; i <= $2; i++)); do
        random_file "$T$1/$i" $((i * 70001)) $(($3 + i))
        timed dfs put "$T$1/$i" "$1/$i"
    done
}

same_files()
{
    local i
    for ((i = 1; i <= $2; i++)); do
        same_in_store "$T$1/$i" "$1/$i"
    done
}

load()
{
    local i
    for ((i = 0; ; i++)); do
        [ ! -e "$T/stop" ] || break
        echo "content of $i" | timed dfs put - "/load/$i"
        echo "$i" >>"$T/acked"
    done
}

dfs mkdir /before /load /after /later
files /before 8 100

say "a backup under load"
load &
loading=$!
acked()
{
    [ "$(wc -l <"$T/acked")" -ge "$1" ]
}
wait_until 30 acked 5
mkfifo "$T/feed"
dfs put - /open <"$T/feed" 2>"$T/open.err" &
writing=$!
exec 7>"$T/feed"
random_file "$T/opened" 3000000 7
cat "$T/opened" >&7
# Its first chunk has begun: the one open file besides the load's.
wait_until 30 is True json dfs report -- 'sum(s["used_bytes"] for s in d["servers"]) > 6000000'
cp "$T/acked" "$T/acked.before"
dfs admin backup "$T/backup" --json >"$T/backup.json"
cp "$T/acked" "$T/acked.during"
mkdir "$T/backups"
follower=$(leader)
follower=$((follower % 3 + 1))
dfs admin backup "$T/backups" --from "${address[$follower]}" --json >"$T/follower.json"
[ "$(/usr/bin/python3 -c 'import json, sys; print(json.load(sys.stdin)["member"])' <"$T/follower.json")" = $follower ]
[ "$(ls "$T/backups" | wc -l)" = 1 ]
expect 1 dfs admin backup "$T/backup" # which is there
grep -q "File exists" "$T/err"
acked_more=$(($(wc -l <"$T/acked") + 5))
wait_until 30 acked $acked_more
touch "$T/stop"
wait $loading
nothing_failed
files /after 6 200
dfs rm --skip-trash /before/8
exec 7>&-
wait $writing || fail "the open file was not written: $(cat "$T/open.err")"
same_in_store "$T/opened" /open
nothing_failed
say "$(wc -l <"$T/acked.before") files of the load before the backup, $(wc -l <"$T/acked") in all"

say "what is refused"
kill9 fsmaster1 fsmaster2 fsmaster3
rm -rf "$(data 1)" "$(data 3)"
restore()
{
    fsmaster --restore "$@" --id 1 --advertise "${address[1]}"
}
expect 1 restore "$T/backup" --data "$(data 1)"
grep -q "say --accept-loss" "$T/err"
[ ! -e "$(data 1)" ]
expect 1 restore "$T/backup" --data "$(data 2)" --accept-loss
grep -q "is not empty" "$T/err"
expect 1 restore "$T/nothing" --data "$(data 1)" --accept-loss
expect 1 restore "$T/backup" --data "$(data 1)" --accept-loss --cluster-id 000102030405060708090a0b0c0d0e0f
grep -q "it is of cluster" "$T/err"
damage()
{
    /usr/bin/python3 -c '
import sys
data = bytearray(open(sys.argv[1], "rb").read())
data[int(eval(sys.argv[3], {"n": len(data)}))] ^= 1 << int(sys.argv[4])
open(sys.argv[2], "wb").write(data)' "$T/backup" "$T/damaged" "$1" "$2"
}
for place in 20 n/3 n/2 n-1; do
    damage $place 3
    expect 1 restore "$T/damaged" --data "$(data 1)" --accept-loss
    grep -q "damaged" "$T/err"
    [ -z "$(ls "$(data 1)")" ] || fail "something is left of a restore that failed"
done
damage 8 6 # its format
expect 1 restore "$T/damaged" --data "$(data 1)" --accept-loss
grep -q "this program knows" "$T/err"
head -c -1 "$T/backup" >"$T/damaged"
expect 1 restore "$T/damaged" --data "$(data 1)" --accept-loss
grep -q "ends after" "$T/err"
mkdir -p "$(data 3)"
: >"$(data 3)/RESTORING" # as a crash leaves it
expect 1 fsmaster --data "$(data 3)" --listen 127.0.0.1:0
grep -q "a restore into .* was cut off" "$T/err"

say "the restore"
rm -rf "$(data 2)" "$(data 3)"
mkdir -p "$(data 1)/log"
: >"$(data 1)/RESTORING"
restore "$T/backup" --data "$(data 1)" --accept-loss
start_alone 1
wait_until 60 everybody_heard
same_files /before 7
while read -r i; do
    [ "$(dfs cat "/load/$i")" = "content of $i" ] || fail "/load/$i has other content"
done <"$T/acked.before"
expect 1 dfs ls /after/1
expect 1 dfs ls /open
# What was acknowledged while the backup was made is there or not, and nothing that came later.
dfs ls -C /load | sed 's|.*/||' | sort >"$T/restored"
comm -23 <(sort "$T/acked.before") "$T/restored" | diff - /dev/null
[ "$(comm -13 <(sort "$T/acked.during") "$T/restored" | wc -l)" -le 1 ] # the one on its way

say "orphans are listed and kept"
is True orphans 'd["kept"]'
is True json dfs report -- 'd["orphans"]["kept"]'
lost=$(orphans 'sum(1 for o in d["orphans"] if o["known_version"] is None)')
[ "$lost" -ge 6 ] || fail "$lost orphans, but the chunks of /after are at least 6"
[ "$(orphans 'min(len(o["replicas"]) for o in d["orphans"] if o["known_version"] is None)')" -ge 1 ]
# fsck of the whole store lists them as well; of a part of it, it does not.
dfs fsck / >"$T/fsck" || true # files of the backup that were removed after it may miss chunks
dfs fsck / --json >"$T/fsck.json" || true
[ "$(grep -c '^chunk [0-9]*: set aside, ' "$T/fsck")" = "$(orphans 'd["count"]')" ]
grep -q "^Set aside: $(orphans 'd["count"]') chunks, " "$T/fsck"
is "$(orphans 'd["count"]')" /usr/bin/python3 -c '
import json, sys
print(len({o["chunk"] for o in json.load(open(sys.argv[1]))["set_aside"]}))' "$T/fsck.json"
if dfs fsck /before | grep "set aside"; then
    fail "fsck of a directory tells of the whole store"
fi
# The file that was open in the backup is nobody's any more, but its bytes are kept.
holds_opened()
{
    [ "$(orphans 'sum(1 for o in d["orphans"] if max(r["length"] for r in o["replicas"]) == 3000000)')" = 1 ]
}
wait_until 60 holds_opened
# So is an old file that is deleted now.
total=$(held)
dfs rm -r --skip-trash /before/7
# Deletion works meanwhile, for what is younger than the restore.
files /later 3 300
same_files /later 3
wait_until 30 test "$(held)" -gt "$total"
dfs rm -r --skip-trash /later
dfs mkdir /later
wait_until 60 is "$total" held
lost=$(orphans 'd["count"]')
kill9 fsmaster1
start_alone 1
wait_until 60 everybody_heard
wait_until 60 is "$lost" orphans 'd["count"]'
is True orphans 'd["kept"]'

say "the group grows, and another one leads"
grow 2
grow 3
wait $starting || true
wait_until 30 all_agree 3
wait_until 30 dfs admin raft transfer 2
wait_until 30 leads 2
wait_until 60 everybody_heard
is True orphans 'd["kept"]'
wait_until 60 is "$lost" orphans 'd["count"]'
is "$total" held

say "an operator releases them"
dfs admin release-orphans
expect 1 dfs admin release-orphans
grep -q "no orphans are kept" "$T/err"
wait_until 60 is 0 orphans 'd["count"]'
is False orphans 'd["kept"]'
same_files /before 6
# The backup has a file whose chunk was deleted after it: that is missing, and everything else has its three copies.
gone()
{
    json dfs report -- 'd["chunks"]["missing"] + d["chunks"]["unheard"]' # as any file master sees it
}
wait_until 60 is 1 gone
expect 1 dfs fsck /before/8
grep -q "missing, 0 of 3 copies" "$T/out"
dfs rm --skip-trash /before/8
wait_until 60 is 0 gone
wait_until 60 is "$(json dfs report -- '3 * d["files"]')" held

say "two of three are destroyed"
files /after 4 400
wait_until 30 all_agree 3
survivor=$(leader)
survivor=$((survivor % 3 + 1)) # one that followed
expect 1 fsmaster --recover-quorum --accept-loss --data "$(data "$survivor")" # it runs
grep -q "in use\|uses" "$T/err"
kill9 fsmaster1 fsmaster2 fsmaster3
for id in 1 2 3; do
    [ $id = "$survivor" ] || rm -rf "$(data $id)"
done
expect 1 fsmaster --recover-quorum --data "$(data "$survivor")"
grep -q "say --accept-loss" "$T/err"
grep -q "its log ends at entry" "$T/out"
expect 1 fsmaster --recover-quorum --accept-loss --data "$T/nowhere"
[ ! -e "$T/nowhere" ]
expect 1 fsmaster --recover-quorum --accept-loss --data "$(data "$survivor")" --id 9
expect 0 fsmaster --recover-quorum --accept-loss --data "$(data "$survivor")"
grep -q "a group of one now, of 3 before" "$T/out"
start_alone "$survivor"
wait_until 60 everybody_heard
same_files /before 6
same_files /after 4
[ "$(json dfs admin raft status -- 'len(d["members"])')" = 1 ]
is True orphans 'd["kept"]'
is 0 orphans 'd["count"]'

say "and the group grows to three again"
for id in 1 2 3; do
    [ $id = "$survivor" ] || grow $id
done
wait $starting || true
wait_until 30 all_agree 3
files /later 3 500 # chunkservers follow
same_files /later 3
kill9 "fsmaster$survivor" # the new ones can do without it
wait_until 30 dfs ls /
same_files /before 6
same_files /after 4
nothing_failed
