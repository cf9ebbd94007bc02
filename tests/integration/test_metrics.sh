#!/bin/bash
# /metrics of every daemon is what Prometheus takes: promtool finds nothing to say about names, types, help and units,
# and each sample can be read. Without promtool (tests/lib/promtool gets it) only the latter is checked. docs/metrics.md has
# each name, and no other. /healthz and /varz say what is so, while jobs run, without a mrmaster, without file masters,
# without a leader, and when a main thread hangs.
. "$(dirname "$0")/../lib/cluster.sh"

# On a port of their own each, which their logs tell.
arguments=()
for kind in fsmaster chunkserver mrmaster mrworker; do
    arguments+=("--$kind-arg=--http=127.0.0.1:0")
done
served=9
cluster_up --masters 3 --chunkservers 3 --workers 2 "${arguments[@]}"

# port_of MEMBER: of its pages, as of its latest start.
port_of()
{
    sed -n 's/.* metrics port=\([0-9]*\)$/\1/p' "$CLUSTER/$1/log" | tail -n 1
}

# page MEMBER PATH: what it answers, whatever the status.
page()
{
    /usr/bin/python3 -c '
import sys, urllib.error, urllib.request
try:
    print(urllib.request.urlopen(sys.argv[1], timeout=10).read().decode(), end="")
except urllib.error.HTTPError as error:
    print(error.code, error.read().decode(), end="")' "http://127.0.0.1:$(port_of "$1")$2"
}

# healthz MEMBER REGEX, shows MEMBER LINE (of /metrics): conditions for wait_until.
healthz()
{
    page "$1" /healthz | tee "$T/healthz" | grep -x -- "$2" || { cat "$T/healthz"; false; }
}

shows()
{
    page "$1" /metrics | tee "$T/shown" | grep -x -- "trireme_$2" || { cat "$T/shown"; false; }
}

# state MEMBER KEY: a value below "state" in /varz.
state()
{
    page "$1" /varz | /usr/bin/python3 -c 'import json, sys; print(json.load(sys.stdin)["state"][sys.argv[1]])' "$2"
}

# Something to count.
random_file "$T/file" 3000001 4
dfs put "$T/file" /file
same_in_store "$T/file" /file
dfs admin maintenance --wait 1 >/dev/null
expect 1 dfs cat /nothing

say "well, and an idle worker hears from its mrmaster again and again"
for member in fsmaster1 chunkserver1 mrmaster1 mrworker1 mrworker2; do
    wait_until 30 healthz $member ok
done
heard()
{
    page mrworker1 /metrics | sed -n 's/^trireme_mrworker_mrmaster_heard_timestamp_seconds //p'
}
first_heard=$(heard)
wait_until 30 eval '[ "$(heard)" -gt "$first_heard" ]'

say "a job while it runs, and afterwards"
seq 1 20000 >"$T/numbers"
dfs put "$T/numbers" /numbers
mkfifo "$T/gate"
job_output=$T/job.log
mr run --mapper "cat; cat $T/gate" --reducer 'sort -n | tail -n 1' --reduces 1 -i /numbers -o /out >"$job_output" 2>&1 &
job=$!
wait_until 30 shows mrmaster1 'mrmaster_jobs{state="running"} 1'
wait_until 30 shows mrmaster1 'mrmaster_tasks{kind="map",state="running"} 1'
wait_until 30 shows mrmaster1 'mrmaster_slots_used 1'
busy=mrworker1
wait_until 30 eval 'shows mrworker1 "mrworker_slots_used 1" || shows mrworker2 "mrworker_slots_used 1"'
page mrworker1 /metrics | grep -qx 'trireme_mrworker_slots_used 1' || busy=mrworker2
[[ $(state $busy attempts) == *"attempt_1_0001_m_000000_0"* ]] || fail "$busy runs $(state $busy attempts)"
[ "$(state mrmaster1 jobs_not_ended)" = 1 ]
echo >"$T/gate"
wait $job || { cat "$job_output"; fail "the job failed"; }
for line in 'mrmaster_jobs{state="running"} 0' 'mrmaster_jobs{state="succeeded"} 1' \
    'mrmaster_jobs_submitted_total 1' 'mrmaster_jobs_ended_total{state="succeeded"} 1' \
    'mrmaster_attempts_started_total{kind="map"} 1' 'mrmaster_attempts_started_total{kind="reduce"} 1' \
    'mrmaster_attempts_ended_total{kind="reduce",state="succeeded"} 1' \
    'mrmaster_map_attempts_placed_total{locality="host"} 1' 'mrmaster_slots_used 0'; do
    wait_until 30 shows mrmaster1 "$line"
done
# All bytes of the input were read once, on the worker's own host, which is where the map was placed.
wait_until 30 shows $busy "mrworker_read_bytes_total{locality=\"host\"} $(stat -c %s "$T/numbers")"
shows $busy 'mrworker_attempts_ended_total{kind="map",state="succeeded"} 1' >"$T/line"
shows $busy 'mrworker_spilled_records_total [1-9][0-9]*' >"$T/line"
expect 1 mr run --mapper false --reducer cat -i /numbers -o /bad
wait_until 30 shows mrmaster1 'mrmaster_jobs_ended_total{state="failed"} 1'
wait_until 30 shows mrmaster1 'mrmaster_attempts_ended_total{kind="map",state="failed"} [1-9]'

say "options and state, nothing that is not meant for the page"
page mrmaster1 /varz | /usr/bin/python3 -c '
import json, sys
page = json.load(sys.stdin)
assert page["role"] == "mrmaster" and page["version"] and page["address"] == sys.argv[1], page
assert page["options"]["http"] == {"value": "127.0.0.1:0", "from": "flag"}, page["options"]
assert page["options"]["tls-key"] == {"value": None, "from": "default"}, page["options"]
assert page["state"]["active"] and page["state"]["workers"] == 2 and page["state"]["fence_epoch"] == 1, page["state"]
' "$MR_MASTER"
page chunkserver1 /varz | /usr/bin/python3 -c '
import json, sys
page = json.load(sys.stdin)
assert page["role"] == "chunkserver" and page["version"] and page["address"] == sys.argv[1], page
assert page["options"]["http"] == {"value": "127.0.0.1:0", "from": "flag"}, page["options"]
assert page["options"]["capacity"]["from"] == "default", page["options"]
state, masters = page["state"], sys.argv[2].split(",")
assert [m["address"] for m in state["masters"]] == masters and len(masters) == 3, state
assert all(m["registered"] and m["error"] == "" and m["answered_age_ms"] < 10000 for m in state["masters"]), state
disk, = state["disks"]
assert disk["path"] == sys.argv[3] and not disk["failed"] and disk["capacity_bytes"] > disk["free_bytes"] > 0, disk
assert state["chunks"] > 0 and disk["used_bytes"] > 0 and not state["draining"] and state["trouble"] == "", state
' "$(cluster_field chunkserver1 address)" "$DFS_MASTER" "$(cluster_field chunkserver1 data)"
# One leads, and they know who.
for i in 1 2 3; do
    page fsmaster$i /varz >"$T/fsmaster$i.json"
done
/usr/bin/python3 - "$T" "$DFS_MASTER" <<'END'
import json, sys
pages = [json.load(open(f"{sys.argv[1]}/fsmaster{i}.json")) for i in (1, 2, 3)]
addresses = sys.argv[2].split(",")
for i, page in enumerate(pages, 1):
    state = page["state"]
    assert page["role"] == "fsmaster" and page["address"] == addresses[i - 1] and state["member"] == i, page
    assert page["options"]["http"] == {"value": "127.0.0.1:0", "from": "flag"}, page["options"]
    assert page["options"]["replication"]["value"] == "0", "the option as it was given, not what it means"
    assert [(m["id"], m["address"], m["voter"]) for m in state["members"]] == [
        (n, a, True) for n, a in enumerate(addresses, 1)], state
    assert [m["address"] for m in state["members"] if m["leads"]] == [state["leader"]], state
    assert 0 < state["applied"] <= state["commit"] <= state["last"] and state["trouble"] == "", state
    assert state["chunkservers"] == 3 and state["cluster"] and not state["keeps_orphans"], state
assert len({(p["state"]["leader"], p["state"]["term"], p["state"]["cluster"]) for p in pages}) == 1, pages
leader, = (p["state"] for p in pages if p["state"]["role"] == "leader")
assert leader["all_reported"] and leader["chunkservers_live"] == 3, leader
assert all("lag" in m for m in leader["members"]), leader
assert sorted(p["state"]["role"] for p in pages) == ["follower", "follower", "leader"], pages
END

# ports: of all daemons that serve HTTP.
ports()
{
    sed -n 's/.* metrics port=\([0-9]*\)$/\1/p' "$CLUSTER"/*/log
}
[ "$(ports | wc -l)" = $served ] || fail "$(ports | wc -l) daemons of $served tell their port"

for port in $(ports); do
    /usr/bin/python3 - "$port" >"$T/metrics.$port" <<'END'
import re, sys, urllib.request
sample = re.compile(r'trireme_[a-z0-9_]+(\{([a-z_]+="[^"\\\n]*",?)+\})? (-?[0-9.]+(e[-+]?[0-9]+)?|[-+]?Inf|NaN)$')
with urllib.request.urlopen(f"http://127.0.0.1:{sys.argv[1]}/metrics") as page:
    assert page.headers["content-type"].startswith("text/plain; version=0.0.4"), page.headers
    text = page.read().decode()
names = set()
for line in text.splitlines():
    if line.startswith("# TYPE "):
        name = line.split()[2]
        assert name not in names, f"{name} comes twice"
        names.add(name)
    assert line.startswith("#") or sample.match(line), line
print(text, end="")
END
done
say "$(cat "$T"/metrics.* | grep -c '^# TYPE') metrics of $served daemons can be read"
grep -q "^trireme_fsmaster_chunkservers_leaving 1$" "$T"/metrics.*
sed -n 's/^# TYPE //p' "$T"/metrics.* | sort -u >"$T/served"
sed -n 's/^| `\(trireme_[a-z0-9_]*\)` | \([a-z]*\) .*/\1 \2/p' "$TRIREME_SOURCE/docs/metrics.md" | sort >"$T/documented"
diff "$T/documented" "$T/served" || fail "docs/metrics.md (<) and what is served (>) differ"
say "docs/metrics.md has all of them, and no other"

say "without file masters: mrmaster and chunkservers say so, mrworker has its mrmaster all the same"
pause fsmaster1 fsmaster2 fsmaster3
wait_until 60 healthz chunkserver1 '503 no file master has answered for [1-9][0-9]* s: .*'
for master in ${DFS_MASTER//,/ }; do
    grep -qF " $master" "$T/healthz" || fail "$master is not named: $(cat "$T/healthz")"
done
[[ $(state chunkserver1 trouble) == "no file master has answered for "* ]] || fail "trouble: $(state chunkserver1 trouble)"
wait_until 60 healthz mrmaster1 '503 the store does not answer: .*'
healthz mrworker1 ok
[[ $(state mrmaster1 trouble) == "the store does not answer: "* ]] || fail "trouble: $(state mrmaster1 trouble)"
shows mrmaster1 'mrmaster_active 1' >"$T/line"
resume fsmaster1 fsmaster2 fsmaster3
wait_until 60 healthz mrmaster1 ok
wait_until 60 healthz chunkserver1 ok

say "a file master without a majority says so"
wait_until 30 healthz fsmaster1 ok
pause fsmaster2 fsmaster3
wait_until 30 healthz fsmaster1 '503 no leader: .*'
resume fsmaster2 fsmaster3
wait_until 30 healthz fsmaster1 ok

say "without a mrmaster: the workers say so, and are well when it is back"
kill9 mrmaster1
wait_until 30 healthz mrworker1 "503 no mrmaster has this worker; it tries $MR_MASTER"
shows mrworker1 'mrworker_connected 0' >"$T/line"
cluster_up
wait_until 30 healthz mrmaster1 ok
wait_until 30 healthz mrworker1 ok
wait_until 30 shows mrworker1 'mrworker_joins_total 2'

say "a mrmaster that hangs is missed, too"
pause mrmaster1
wait_until 60 healthz mrworker1 '503 .*'
resume mrmaster1
wait_until 30 healthz mrworker1 ok

say "one that waits for the file masters at its start says so"
kill9 mrmaster1
pause fsmaster1 fsmaster2 fsmaster3
mkdir "$CLUSTER/starting"
mrmaster --data "$CLUSTER/mrmaster1/data" --http 127.0.0.1:0 --listen 127.0.0.1:0 2>"$CLUSTER/starting/log" &
starting=$!
wait_until 30 healthz starting '503 mrmaster starts: the file masters have not answered yet'
resume fsmaster1 fsmaster2 fsmaster3
wait_until 60 healthz starting ok
kill $starting
wait $starting

# hang MEMBER: its main thread, alone, does nothing for 30 s or until the tracer ends.
hang()
{
    local pid
    pid=$(cluster_field "$1" pid)
    strace -o /dev/null -p "$pid" -e trace=all -e inject=all:delay_enter=30000000:when=1 2>"$T/strace.$1" &
    echo $! >"$T/strace.$1.pid"
    wait_until 20 grep -q attached "$T/strace.$1"
}
if command -v strace >/dev/null; then
    say "a main thread that hangs"
    hang fsmaster1
    hang chunkserver1
    for member in fsmaster1 chunkserver1; do
        wait_until 60 healthz $member '503 the thread that does the work hangs: silent for [0-9]* s'
    done
    for member in fsmaster1 chunkserver1; do
        kill -KILL "$(cat "$T/strace.$member.pid")" # the thread goes on at once
        wait_until 60 healthz $member ok
    done
else
    say "no strace: a main thread that hangs is not tried"
fi

promtool=$(TRIREME_BUILD=$TRIREME_BUILD "$TRIREME_SOURCE/tests/lib/promtool" 2>"$T/err") ||
    skip "what promtool would say of the metrics is not checked: $(cat "$T/err")"
for file in "$T"/metrics.*; do
    expect 0 "$promtool" check metrics <"$file"
    if [ -s "$T/out" ] || [ -s "$T/err" ]; then
        cat "$T/out" "$T/err" >&2
        fail "promtool finds fault with /metrics"
    fi
done
say "promtool has nothing to say"
