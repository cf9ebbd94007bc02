#!/bin/bash
# deploy/quickstart from the first step to the last, as a new user would run it; it checks its own word counts.
# ctest: serial
. "$(dirname "$0")/../lib/cluster.sh"
for program in fsmaster chunkserver dfs mrmaster mrworker mrtask mr; do
    if [ ! -x "$TRIREME_BUILD/bin/$program" ]; then
        skip "$program is not built"
    fi
done
"$TRIREME_SOURCE/deploy/quickstart" --dir "$T/quickstart" | tee "$T/out"
[ "$(grep -c 'the same as sort | uniq -c' "$T/out")" = 2 ]
[ ! -e "$T/quickstart" ] # nothing is left behind
