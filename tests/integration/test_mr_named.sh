#!/bin/bash
# Named outputs: all files of one attempt count or none, whatever fails and whoever has been there; nothing but them is
# in the output.
. "$(dirname "$0")/../lib/cluster.sh"
cluster_up --masters 1 --chunkservers 3 --workers 2 --slots 2
export LC_ALL=C
cd "$T"

cat >named.c <<'END'
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <trireme/mapreduce.h>

static void map(struct mr_ctx *ctx, struct mr_span offset, struct mr_span line)
{
    (void)offset;
    if (mr_config(ctx, "only.map")) {
        mr_emit_to(ctx, ((const char *)line.data)[line.length - 1] % 2 ? "odd" : "even", line, mr_bytes(NULL, 0));
    }
    if (mr_config(ctx, "in.map")) {
        mr_emit_to(ctx, "odd", line, mr_bytes(NULL, 0));
    }
    mr_emit(ctx, line, mr_bytes(NULL, 0));
}

/* Of each number: into odd or even, and into the part. The fault comes behind all that. */
static void reduce(struct mr_ctx *ctx, struct mr_span key, struct mr_values *values)
{
    const char *once = mr_config(ctx, "once");
    const char *gate = mr_config(ctx, "gate");
    char last = ((const char *)key.data)[key.length - 1];
    (void)values;
    mr_emit(ctx, key, mr_string("part"));
    mr_emit_to(ctx, last % 2 ? "odd" : "even", key, mr_string("named"));
    if (mr_config(ctx, "unknown")) {
        mr_emit_to(ctx, "none", key, key);
    }
    if (once && open(once, O_CREAT | O_EXCL, 0600) >= 0) {
        raise(SIGKILL);
    }
    while (gate && access(gate, F_OK) < 0) {
        usleep(10000);
    }
}

static const char *const outputs[] = {"odd", "even", "never", NULL};
static const struct mr_job job = {MR_JOB_HEADER, .name = "named", .map = map, .reduce = reduce, .outputs = outputs};

MR_EXPORT const struct mr_job *mr_job_v1(void)
{
    return &job;
}
END
cc -O1 -shared -fPIC -I "$TRIREME_SOURCE/mapreduce/include" -o named.so named.c
seq 1 3000 >numbers
dfs put --chunk-size 1M numbers /numbers

# whole DIRECTORY PARTS: the three outputs have what they should, and nothing else is there.
whole()
{
    dfs cat "$1/part-*" | sort >got
    sort numbers | sed 's/$/\tpart/' >wanted
    same_bytes got wanted
    dfs cat "$1/odd-*" | sort >got
    sort numbers | grep '[13579]$' | sed 's/$/\tnamed/' >wanted
    same_bytes got wanted
    dfs cat "$1/even-*" | sort >got
    sort numbers | grep '[02468]$' | sed 's/$/\tnamed/' >wanted
    same_bytes got wanted
    { echo _SUCCESS; for i in $(seq 0 $(($2 - 1))); do printf '%s-%05d\n' even "$i" odd "$i" part "$i"; done; } |
        sort >wanted
    dfs ls -C "$1" | sed 's,.*/,,' | sort >got
    same_bytes got wanted
}

say "reduces, map only, locally"
run=(mr run --lib ./named.so -i /numbers)
"${run[@]}" -o /out -r 3 2>said || fail "$(cat said)"
whole /out 3
grep -A 3 'Named Outputs' said | grep -q 'odd=1500' || fail "no counter: $(cat said)"
"${run[@]}" -o /maps -r 0 -D only.map=1 --split-size 4K 2>said || fail "$(cat said)"
dfs cat '/maps/odd-*' | sort >got
sort numbers | grep '[13579]$' >wanted
same_bytes got wanted
[ "$(dfs cat '/maps/part-*' | wc -l)" = 3000 ] || fail "parts of a map-only job"
mr run --local -q --lib ./named.so -i numbers -o local -r 2
cat local/odd-00000 local/odd-00001 | sort >got
sort numbers | grep '[13579]$' | sed 's/$/\tnamed/' >wanted
same_bytes got wanted
[ "$(ls local)" = "$(printf '%s\n' _SUCCESS even-0000{0,1} odd-0000{0,1} part-0000{0,1})" ] || fail "$(ls local)"

say "what is wrong is said"
expect 1 "${run[@]}" -o /no -r 1 -D unknown=1 --attempts 1
grep -q "the job declares no output 'none'" err || fail "$(cat err)"
expect 1 "${run[@]}" -o /no -r 1 -D in.map=1 --attempts 1
grep -q 'only reduce, and map of a job without reduces, have outputs' err || fail "$(cat err)"
dfs test -e /no && fail "an output of a failed job"
for name in part _x '' 'a b' even; do
    sed "s/\"never\"/\"$name\"/" named.c >bad.c
    cc -O1 -shared -fPIC -I "$TRIREME_SOURCE/mapreduce/include" -o bad.so bad.c
    expect 1 mr run --lib ./bad.so -i /numbers -o /no
    grep -qE "output '.*': a name has|two outputs are called" err || fail "$(cat err)"
done

say "a library of before, whose table ends earlier"
sed -e 's/MR_JOB_HEADER/.abi = MR_ABI, .size = (uint32_t)offsetof(struct mr_job, outputs)/' -e 's/mr_emit_to(ctx, last.*//' \
    named.c >old.c
cc -O1 -shared -fPIC -I "$TRIREME_SOURCE/mapreduce/include" -o old.so old.c
mr run -q --lib ./old.so -i /numbers -o /old -r 2
[ "$(dfs ls -C /old | wc -l)" = 3 ] || fail "$(dfs ls /old)"

say "an attempt that dies leaves nothing"
"${run[@]}" -o /died -r 2 -D once="$T/once" 2>said || fail "$(cat said)"
grep -q 'Attempts: 1 failed' said || fail "$(cat said)"
whole /died 2

# A task that somebody has committed, and left before its files had moved out. Its output is what stands there, in an order
# that no reduce gives.
committed()
{
    dfs mkdir "$1/_part-00001"
    sed 's/$/\tpart/' theirs >part
    grep '[13579]$' theirs | sed 's/$/\tnamed/' >odd
    grep '[02468]$' theirs | sed 's/$/\tnamed/' >even
    for name in part odd even; do
        dfs put "$name" "$1/_part-00001/$name-00001"
    done
    dfs mkdir "$1/_attempt_9_0001_r_000001_7"
    echo stale | dfs put - "$1/_attempt_9_0001_r_000001_7/odd-00001"
}
"${run[@]}" -o /two -r 2 -q
dfs cat /two/part-00001 | cut -f 1 | tac >theirs
theirs_won()
{
    for name in part odd even; do
        same_in_store "$name" "$1/$name-00001"
    done
}

say "another attempt has committed the task; what lost attempts have left goes"
job=$("${run[@]}" -o /late -r 2 -D gate="$T/gate" --detach)
wait_until 20 job_has "$job" 'j["reduces"]["running"] == 2'
committed /._mr_late
touch gate
wait_until 20 dfs test -e /late
whole /late 2
theirs_won /late
rm gate

say "the job master dies before a committed task's files have moved out"
job=$("${run[@]}" -o /taken -r 2 -D gate="$T/gate" --detach)
wait_until 20 job_has "$job" 'j["reduces"]["running"] == 2'
kill9 mrmaster1
committed /._mr_taken
cluster_up
wait_until 20 job_has "$job" 'j["reduces"]["done"] == 1'
wait_until 20 dfs test -e /._mr_taken/part-00001
touch gate
wait_until 20 dfs test -e /taken
whole /taken 2
theirs_won /taken

say "done"
