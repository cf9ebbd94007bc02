#!/bin/bash
# mr replay gives what the task gave in its job, byte for byte, and fails as it failed, without the job's machines.
. "$(dirname "$0")/../lib/cluster.sh"
cluster_up --masters 1 --chunkservers 3 --workers 2 --slots 2
export LC_ALL=C
cd "$T"

# job_of TEXT: the id of a job from what mr run said.
job_of()
{
    grep -o 'job_[0-9_]*[0-9]' "$1" | head -n 1
}

# task JOB KIND NUMBER: an attempt's name
task()
{
    printf 'attempt_%s_%s_%06d_0\n' "${1#job_}" "$2" "$3"
}

awk 'BEGIN { srand(5); for (i = 0; i < 30000; i++) print "w" int(rand() * rand() * 3000), i }' >words
gzip <words >words.gz
dfs mkdir /in
dfs put --chunk-size 1M words words.gz /in

say "programs: each map, each reduce"
printf '#!/bin/sh\ncut -d " " -f 1 | sed "s/^/$(cat prefix)/"\n' >cutter
printf 'a-' >prefix
mr run -i /in -o /out -r 2 --split-size 200K --mapper ./cutter --file cutter --file prefix --reducer 'uniq -c' >said 2>&1 ||
    fail "$(cat said)"
job=$(job_of said)
maps=$(mr status "$job" --json | /usr/bin/python3 -c 'import json, sys; print(json.load(sys.stdin)["maps"]["total"])')
[ "$maps" -ge 3 ] || fail "$maps maps"
for i in 0 1; do
    mr replay -q "$(task "$job" r $i)" -o "r$i" || fail "replay of reduce $i"
    dfs cat "/out/part-0000$i" >wanted
    same_bytes "r$i/part-0000$i" wanted
    [ "$(ls "r$i")" = "$(printf 'part-0000%d\nwork' $i)" ] || fail "$(ls r$i)"
done
kill9 mrmaster1 mrworker1 mrworker2 # they are not needed
for ((i = 0; i < maps; i++)); do
    mr replay "$(task "$job" m $i)" >replayed 2>&1 || fail "$(cat replayed)"
    grep -q "^$(task "$job" m $i) succeeded" replayed || fail "$(cat replayed)"
    cat "$(task "$job" m $i)"/partition-* >>all
done
cat words words | sed 's/ .*//; s/^/a-/' | sort >wanted
sort all >got
same_bytes got wanted
cut -f 1 <"$(task "$job" m 0)/partition-00000" | sort -c || fail "a partition is not in order"
cluster_up

say "a library, its counters, named outputs"
cat >named.c <<'END'
#include <stdlib.h>
#include <string.h>

#include <trireme/mapreduce.h>

static void map(struct mr_ctx *ctx, struct mr_span offset, struct mr_span line)
{
    (void)offset;
    if (line.length > 4 && memcmp(line.data, "w12 ", 4) == 0) {
        const char *crash = mr_config(ctx, "crash");
        mr_emit_to(ctx, "twelve", line, mr_bytes(NULL, 0));
        mr_counter_add(ctx, "Own", "Twelve", 1);
        if (crash) {
            mr_fail(ctx, crash);
        }
        if (mr_config(ctx, "leave")) {
            exit(0);
        }
    }
}

static const char *const outputs[] = {"twelve", NULL};
static const struct mr_job job = {MR_JOB_HEADER, .name = "named", .map = map, .outputs = outputs};

MR_EXPORT const struct mr_job *mr_job_v1(void)
{
    return &job;
}
END
cc -O1 -shared -fPIC -I "$TRIREME_SOURCE/mapreduce/include" -o named.so named.c
mr run --lib ./named.so -i /in/words -o /named --map-only --split-size 100M >said 2>&1 || fail "$(cat said)"
job=$(job_of said)
mr replay "$(task "$job" m 0)" -o named >replayed 2>&1 || fail "$(cat replayed)"
dfs cat /named/twelve-00000 >wanted
[ -s wanted ] || fail "no twelve"
same_bytes named/twelve-00000 wanted
grep -q "Twelve=$(wc -l <wanted)" replayed || fail "$(cat replayed)"

say "what failed fails again, in the same words"
expect 1 mr run --lib ./named.so -i /in/words -o /no --map-only --attempts 1 -D crash='twelve is too many'
job=$(job_of err)
expect 1 mr replay "$(task "$job" m 0)" -o crashed
grep -q "mr replay: $(task "$job" m 0): twelve is too many" err || fail "$(cat err)"
expect 1 mr run --lib ./named.so -i /in/words -o /no --map-only --attempts 1 -D leave=1
job=$(job_of err)
expect 1 mr replay "$(task "$job" m 0)" -o left
grep -qx "mr replay: the user's code called exit(0)" err || fail "$(cat err)"
[ -d left/work ] || fail "no work directory to look into"
[ ! -e left/temporary ] || fail "temporary files are left"
expect 1 mr run -i /in/words -o /no --mapper "sh -c 'echo last words >&2; exit 3'" --map-only --attempts 1
job=$(job_of err)
expect 1 mr replay "$(task "$job" m 0)" -o failed
grep -qx 'last words' err || fail "$(cat err)"
grep -q 'exited with status 3' err || fail "$(cat err)"
dfs test -e /no && fail "a replay made an output in the store"

say "what cannot be replayed"
expect 2 mr replay
grep -q 'which attempt' err
expect 2 mr replay job_1_0001
grep -q "'job_1_0001' is not the name of an attempt" err || fail "$(cat err)"
expect 1 mr replay attempt_1_9999_m_000000_0
grep -q 'no job of number 9999 is remembered' err || fail "$(cat err)"
expect 1 mr replay "$(task "$job" m 7)"
grep -q "$job has no such attempt; mr logs $job lists" err || fail "$(cat err)"
expect 1 mr replay --mrmaster '' "$(task "$job" m 7)"
grep -q "$job has 1 maps" err || fail "$(cat err)"
expect 1 mr replay --mrmaster '' "$(task "$job" r 0)"
grep -q "$job has 0 reduces" err || fail "$(cat err)"
expect 1 mr replay "$(task "$job" m 0)" -o failed
grep -q 'make failed: File exists' err || fail "$(cat err)"
expect 1 mr run -q --mapper cat -i '/in/none*' -o /no
job=$(grep -o 'job_[0-9_]*[0-9]' err | head -n 1)
expect 1 mr replay "$(task "$job" m 0)"
grep -q "$job never came as far as having tasks" err || fail "$(cat err)"
mr run --mapper cat -i /in/words -o /before --map-only >said 2>&1 || fail "$(cat said)"
job=$(job_of said)
echo more | dfs append - /in/words
expect 1 mr replay "$(task "$job" m 0)" -o changed
grep -q "the input of $job is no longer cut as it was" err || fail "$(cat err)"
[ ! -e changed ] || fail "a directory of nothing"

say "done"
