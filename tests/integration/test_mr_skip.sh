#!/bin/bash
# Bad records: what ends its task twice is left out if the job allows it, and counted, named and logged; the rest of the
# output is what the good records alone give.
. "$(dirname "$0")/../lib/cluster.sh"
cluster_up --masters 1 --chunkservers 3 --workers 2 --slots 2
export LC_ALL=C
cd "$T"

cat >faulty.c <<'END_C'
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include <trireme/mapreduce.h>

static bool begins(struct mr_span bytes, const char *word)
{
    return bytes.length >= strlen(word) && memcmp(bytes.data, word, strlen(word)) == 0;
}

static void fault(struct mr_ctx *ctx, struct mr_span line)
{
    if (begins(line, "segv")) {
        raise(SIGSEGV);
    } else if (begins(line, "exit")) {
        exit(0);
    } else if (begins(line, "fail")) {
        mr_fail(ctx, "this line is no good");
    } else if (begins(line, "hang")) {
        for (volatile bool on = true; on;) {
        }
    }
}

static void map(struct mr_ctx *ctx, struct mr_span offset, struct mr_span line)
{
    (void)offset;
    fault(ctx, line);
    mr_emit(ctx, line, mr_bytes(NULL, 0));
}

/* Whole lines with their newlines. */
static void map_batch(struct mr_ctx *ctx, const struct mr_record *records, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const char *at = records[i].value.data;
        const char *end = at + records[i].value.length;
        while (at < end) {
            const char *newline = memchr(at, '\n', (size_t)(end - at));
            const char *stop = newline ? newline : end;
            map(ctx, mr_bytes(NULL, 0), mr_bytes(at, (size_t)(stop - at)));
            at = stop + 1;
        }
    }
}

static void reduce(struct mr_ctx *ctx, struct mr_span key, struct mr_values *values)
{
    struct mr_span value;
    if (begins(key, "bad key")) {
        raise(SIGSEGV);
    }
    while (values->next(values, &value)) {
        mr_emit(ctx, key, value);
    }
}

static void combine(struct mr_ctx *ctx, struct mr_span key, struct mr_values *values)
{
    (void)ctx;
    (void)key;
    (void)values;
    raise(SIGSEGV);
}

static const struct mr_job job = {MR_JOB_HEADER, .name = "faulty",
#ifdef BLOCKS
                                  .map_batch = map_batch, .input = MR_INPUT_BLOCKS,
#else
                                  .map = map,
#endif
#ifdef COMBINE
                                  .combine = combine,
#endif
                                  .reduce = reduce};

MR_EXPORT const struct mr_job *mr_job_v1(void)
{
    (void)map_batch;
    (void)combine;
    return &job;
}
END_C
compile=(cc -O1 -shared -fPIC -I "$TRIREME_SOURCE/mapreduce/include")
"${compile[@]}" -o faulty.so faulty.c
"${compile[@]}" -DBLOCKS -o blocks.so faulty.c
"${compile[@]}" -DCOMBINE -o combine.so faulty.c

# run ARG...: mr run, which must succeed; what it said is in said, $job is its id.
run()
{
    mr run --no-speculative "$@" 2>said || fail "$(cat said)"
    job=$(grep -o 'job_[0-9_]*' said | head -n 1)
}

# counters NAME=VALUE...: the job has counted so.
counters()
{
    local counter
    for counter in "$@"; do
        grep -q $'\t'"$counter\$" said || fail "not counted: $counter; $(cat said)"
    done
}

# input NAME: the lines on stdin become /NAME; what is good of it is $T/good.
input()
{
    cat >"$1"
    grep -vE '^(segv|exit|fail|hang|bad)' "$1" >good || true
    dfs put --chunk-size 1M "$1" "/$1"
}

# parts DIRECTORY: its only part is the good lines, as they stand in the input.
parts()
{
    dfs cat "$1/part-00000" >got
    same_bytes got good
}

sorted_parts()
{
    dfs cat "$1/part-*" | sort >got
    sort good >wanted
    same_bytes got wanted
}

# logged FILE LINE...: the logs of the job's attempts that succeeded name these lines, by where they begin.
logged()
{
    local file=$1 line at
    shift
    mr logs "$job" | awk '$2 == "succeeded" { print $1 }' >attempts
    while read -r attempt; do
        mr logs "$job" "$attempt"
    done <attempts >logs
    for line in "$@"; do
        at=$(grep -b "^$line\$" "$file" | cut -d : -f 1)
        grep -q "^skipped: the record at offset $at of /$file (record [0-9]* of the task), " logs ||
            fail "$line is not logged: $(cat logs)"
    done
    is "$#" grep -c '^skipped: ' logs || fail "$(cat logs)"
}

numbers()
{
    seq -f 'line %05.0f' "$@"
}

say "functions: two records that crash in one map, one in another"
{ numbers 1 300; echo segv one; echo segv two; numbers 301 2500; echo segv three; numbers 2501 4000; } | input crash
run --lib ./faulty.so -i /crash -o /crashed -r 0 --split-size 16K --skip-bad-records 2
sorted_parts /crashed
counters 'Map skipped records=3' 'Map input records=4000' 'Map output records=4000'
grep -q 'Attempts: 6 failed' said || fail "$(cat said)"
grep -q "^Skipped: 3 bad records of maps, 0 key groups of reduces; .*mr logs $job" said || fail "$(cat said)"
mr logs "$job" | grep -q 'bad records skipped: 2; its log says which' || fail "$(mr logs "$job")"
mr logs "$job" --failed | grep -q 'signal 11 (Segmentation fault); it was at the record at offset' || fail "$(mr logs "$job")"
logged crash 'segv one' 'segv two' 'segv three'
is 3 json mr counters "$job" -- 'd["Map-Reduce Framework"]["Map skipped records"]'
run --lib ./faulty.so -i /crash -o /crashed-whole -r 0 --split-size 1M --skip-bad-records 3
parts /crashed-whole
run --lib ./faulty.so -i /crash -o /crashed-sorted -r 2 --skip-bad-records 3 -q
sorted_parts /crashed-sorted
grep -q '^Skipped: 3 bad records' said || fail "said even if quiet: $(cat said)"
run --lib ./blocks.so -i /crash -o /blocks -r 2 -D mapreduce.map.skip.maxrecords=9223372036854775807
sorted_parts /blocks
counters 'Map skipped records=3' 'Map input records=4000'

say "without the option, and with too small a number, the job fails and names the record"
expect 1 mr run --lib ./faulty.so -i /crash -o /no -r 1
grep -q 'signal 11' err || fail "$(cat err)"
grep -q 'offset' err && fail "$(cat err)"
expect 1 mr run --lib ./faulty.so -i /crash -o /no -r 1 -D mapreduce.reduce.skip.maxgroups=9
expect 1 mr run --lib ./faulty.so -i /crash -o /no -r 1 --skip-bad-records 1 --split-size 1M --no-speculative
grep -qE "it was at the record at offset (2|3)[0-9]* of /crash \(record [0-9]+ of the task\); the task has left out as many as it may" \
    err || fail "$(cat err)"
dfs test -e /no && fail "an output of a failed job"

say "the record at which a buffer is full is not to blame for the combiner"
numbers 1 60000 | input many
expect 1 mr run --lib ./combine.so -i /many -o /no -r 1 --split-size 4M --memory 1M --skip-bad-records 100 --no-speculative
grep -q 'signal 11' err || fail "$(cat err)"
grep -q 'it was at' err && fail "$(cat err)"

say "functions: records that end the task, fail it or take for ever"
{ numbers 1 50; echo exit; numbers 51 99; echo fail; numbers 100 150; echo hang; numbers 151 200; } | input ends
run --lib ./faulty.so -i /ends -o /ended -r 1 --skip-bad-records 3 --timeout 1s
sorted_parts /ended
counters 'Map skipped records=3' 'Map input records=200'
logged ends exit fail hang
for why in 'ended with status 0 before its task did; it was at' 'this line is no good, at' \
    'no sign of progress within .*; it was at'; do
    mr logs "$job" --failed | grep -q "$why the record" || fail "$why: $(mr logs "$job")"
done

say "functions: key groups"
{ numbers 1 50; for _ in 1 2 3; do echo bad key; done; numbers 51 99; echo bad key 2; } | input groups
run --lib ./faulty.so -i /groups -o /grouped -r 1 --skip-bad-records 2
sorted_parts /grouped
counters 'Reduce skipped groups=2' 'Reduce skipped records=4' 'Reduce input groups=99' 'Reduce input records=99'
grep -q '^Skipped: 0 bad records of maps, 2 key groups of reduces' said || fail "$(cat said)"
attempt=$(mr logs "$job" | awk '$2 == "succeeded" && /_r_/ { print $1 }')
mr logs "$job" "$attempt" | grep -q "^skipped: the key 'bad key' (key group 1 of the task), 3 values" ||
    fail "$(mr logs "$job" "$attempt")"
expect 1 mr run --lib ./faulty.so -i /groups -o /no -r 1
expect 1 mr run --lib ./faulty.so -i /groups -o /no -r 1 --skip-bad-records 1 --no-speculative
grep -q "it was at the key 'bad key 2' (key group 2 of the task)" err || fail "$(cat err)"

say "programs: mappers"
cat >mapper <<'END_SH'
#!/usr/bin/awk -f
/^bad/ { print "no good: " $0 >"/dev/stderr"; exit 1 }
{ print "reporter:counter:mapper,good,1" >"/dev/stderr"; print }
END_SH
cat >reducer <<'END_SH'
#!/usr/bin/awk -f
/^bad key/ { exit 1 }
{ print }
END_SH
{ numbers 1 300; echo bad one; echo bad two; numbers 301 2500; echo bad three; numbers 2501 4000; printf 'bad end, without a newline'; } |
    input programs
run --mapper ./mapper --file mapper -i /programs -o /programmed -r 0 --split-size 16K --skip-bad-records 2
sorted_parts /programmed
counters 'Map skipped records=4' 'Map input records=4000' 'Map output records=4000' 'good=4000'
grep -q '^Skipped: 4 bad records' said || fail "$(cat said)"
logged programs 'bad one' 'bad two' 'bad three' 'bad end, without a newline'
run --mapper ./mapper --file mapper -i /programs -o /programmed-whole -r 0 --split-size 1M --skip-bad-records 4
parts /programmed-whole
run --mapper ./mapper --file mapper --reducer cat -i /programs -o /programmed-once -r 2 --skip-bad-records 4 --attempts 1
sorted_parts /programmed-once
expect 1 mr run --mapper ./mapper --file mapper -i /programs -o /no -r 0
expect 1 mr run --mapper ./mapper --file mapper -i /programs -o /no -r 0 --split-size 1M --skip-bad-records 3
grep -q "exited with status 1, at the record at offset $(grep -b '^bad end' programs | cut -d : -f 1) of /programs" err ||
    fail "$(cat err)"
gzip <programs | dfs put - /packed.gz
run --mapper ./mapper --file mapper -i /packed.gz -o /packed -r 0 --skip-bad-records 4
parts /packed

say "several small files in one map: records are named by their file, programs know it"
dfs mkdir /small
for name in a b c; do
    { numbers 1 10; echo "segv $name"; numbers 11 20; } | dfs put - "/small/$name"
done
numbers 1 20 >good
cat good good good | sort >wanted
run --lib ./faulty.so -i /small -o /small-functions -r 0 --skip-bad-records 3
dfs cat '/small-functions/part-*' | sort >got
same_bytes got wanted
counters 'Map skipped records=3' 'Map input records=60'
cat >named-mapper <<'END_SH'
#!/usr/bin/awk -f
/^segv/ { exit 1 }
{ print ENVIRON["mapreduce_map_input_file"] ": " $0 }
END_SH
run --mapper ./named-mapper --file named-mapper -i /small -o /small-programs -r 0 --skip-bad-records 3
counters 'Map skipped records=3' 'Map input records=60'
dfs cat '/small-programs/part-*' | sed 's,^.*/small,/small,' | sort >got
for name in a b c; do
    sed "s,^,/small/$name: ," good
done >wanted
same_bytes got wanted
for attempt in $(mr logs "$job" | awk '$2 == "succeeded" { print $1 }'); do
    mr logs "$job" "$attempt"
done | grep -o '^skipped: the record at offset 110 of /small/[abc]' | sort -u >got
is 3 grep -c . got || fail "$(cat got)"

say "programs: reducers"
grep -v '^bad' groups >good
run --mapper cat --reducer ./reducer --file reducer -i /groups -o /reduced -r 1 --skip-bad-records 2
sorted_parts /reduced
counters 'Reduce skipped groups=2' 'Reduce skipped records=4' 'Reduce input groups=99' 'Reduce input records=99'
expect 1 mr run --mapper cat --reducer ./reducer --file reducer -i /groups -o /no -r 1 --skip-bad-records 1
grep -q "at the key 'bad key 2'" err || fail "$(cat err)"

say "a good job is what it was, and a program without input runs once"
numbers 1 1000 | input fine
run --lib ./faulty.so -i /fine -o /fine-out -r 2 --skip-bad-records 5
sorted_parts /fine-out
grep -q -i skipped said && fail "$(cat said)"
: | input nothing
run --mapper cat --reducer 'wc -l' -i /nothing -o /nothing-out -r 1 --skip-bad-records 1 --attempts 1
is 0 dfs cat /nothing-out/part-00000
say "done"
