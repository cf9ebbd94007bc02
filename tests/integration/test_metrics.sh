#!/bin/bash
# /metrics of every daemon is what Prometheus takes: promtool finds nothing to say about names, types, help and units,
# and each sample can be read. Without promtool (Debian's package prometheus) only the latter is checked.
# ctest: serial
. "$(dirname "$0")/../lib/cluster.sh"

# Those daemons that serve it, on a port of their own each, which their logs tell.
arguments=()
served=0
for kind in fsmaster:3 chunkserver:3 mrmaster:1 mrworker:2; do
    if "${kind%:*}" --help | grep -q -- "--http"; then
        arguments+=("--${kind%:*}-arg=--http=127.0.0.1:0")
        served=$((served + ${kind#*:}))
    fi
done
cluster_up --masters 3 --chunkservers 3 --workers 2 "${arguments[@]}"

# Something to count.
random_file "$T/file" 3000001 4
dfs put "$T/file" /file
same_in_store "$T/file" /file
dfs admin maintenance --wait 1 >/dev/null
expect 1 dfs cat /nothing

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

if ! command -v promtool >/dev/null; then
    skip "promtool is not installed (Debian's package prometheus): what it would say is not checked"
fi
for port in $(ports); do
    expect 0 promtool check metrics <"$T/metrics.$port"
    if [ -s "$T/out" ] || [ -s "$T/err" ]; then
        cat "$T/out" "$T/err" >&2
        fail "promtool finds fault with /metrics"
    fi
done
say "promtool has nothing to say"
