#!/bin/bash
# Jobs on a cluster give what sort and uniq give, whatever the input's shape; what is wrong is said clearly, and tasks
# that crash, hang or print garbage harm nothing but their own job.
. "$(dirname "$0")/../lib/cluster.sh"
cluster_up --masters 1 --chunkservers 4 --workers 4 --slots 2

# run ARG...: mr run, which must succeed; what it said is in $T/run.
run()
{
    mr run "$@" >"$T/run" 2>&1 || {
        cat "$T/run" >&2
        fail "mr run $*"
    }
}

# run_fails STATUS TEXT ARG...: mr run must end so, say so, and leave no output /no.
run_fails()
{
    local status=$1 text=$2
    shift 2
    expect "$status" mr run "$@" -o /no
    grep -qF -- "$text" "$T/err" || {
        cat "$T/err" >&2
        fail "not said: $text"
    }
    if dfs test -e /no || dfs test -e /._mr_no; then
        fail "there is an output after: mr run $*"
    fi
}

output_is()
{
    dfs cat "$1/part-*" >"$T/got"
    same_bytes "$T/got" "$2"
}

# The parts' lines in one order.
sorted_output_is()
{
    dfs cat "$1/part-*" | LC_ALL=C sort >"$T/got"
    same_bytes "$T/got" "$2"
}

says()
{
    grep -qE -- "$1" "$T/run" || {
        cat "$T/run" >&2
        fail "mr run did not say: $1"
    }
}

# begin ARG...: mr run in the background; $job is its id, $! its process, $T/begun what it says.
begin()
{
    : >"$T/begun"
    mr run "$@" >"$T/begun" 2>&1 &
    wait_until 20 grep -q submitted "$T/begun"
    job=$(grep -o 'job_[0-9_]*' "$T/begun" | head -n 1)
}

examples=$TRIREME_SOURCE/mapreduce/examples/streaming
wordcount=$TRIREME_BUILD/wordcount.so
cd "$T"

say "word count, native and by programs, records across splits and chunks of 1 MiB"
awk 'BEGIN { srand(7); for (i = 0; i < 60000; i++) { n = int(rand() * 20); line = "";
    for (j = 0; j < n; j++) line = line " w" int(rand() * rand() * 5000); print line } }' >words
head -c -1 words >unended # the last line has no newline
cat words unended | tr -s ' ' '\n' | grep -v '^$' | LC_ALL=C sort | LC_ALL=C uniq -c |
    awk '{ print $2 "\t" $1 }' | LC_ALL=C sort >counts
dfs mkdir /in
dfs put --chunk-size 1M words unended /in
for reduces in 1 2 7; do
    run --lib "$wordcount" -i /in -o "/native$reduces" -r $reduces
    sorted_output_is "/native$reduces" counts
    [ "$(dfs ls "/native$reduces" | grep -c /part-)" = $reduces ] || fail "not $reduces parts"
done
says 'Map tasks: [0-9]+ on a host of their input'
says 'Map input records=120000'
run --lib "$wordcount" -i /in -o /native-small --split-size 123457 --memory 1M -r 3
sorted_output_is /native-small counts
run --lib "$wordcount" -i /in -o /native-auto # the master chooses how many reduces
sorted_output_is /native-auto counts
run -mapper ./wordcount_map -combiner ./wordcount_reduce -reducer ./wordcount_reduce -file "$examples/wordcount_map" \
    -files "$examples/wordcount_reduce" -input /in -output /programs -numReduceTasks 3
sorted_output_is /programs counts
run --mapper "$examples/wordcount_map" --reducer "$examples/wordcount_reduce" -i '/in/w*' -i /in/unended -o /globs \
    --file "$examples/wordcount_map" --file "$examples/wordcount_reduce" -D mapreduce.job.reduces=2
sorted_output_is /globs counts
dfs put "$examples/wordcount_map" "$examples/wordcount_reduce" / # programs that lie in the store, as Hadoop's users keep them
run -mapper ./m -reducer ./wordcount_reduce -files "hdfs:///wordcount_map#m,hdfs://somewhere:9000/wordcount_reduce" \
    -input 'hdfs:///in/w*' -input hdfs://somewhere:9000/in/unended -output hdfs:///in-store -numReduceTasks 2
sorted_output_is /in-store counts
run_fails 1 "/none: no such file or directory" -mapper cat -files hdfs:///none -input /in

say "no input at all, and files of no bytes"
dfs mkdir /empty
run --lib "$wordcount" -i /empty -o /of-nothing -r 2
[ "$(dfs cat '/of-nothing/part-*' | wc -c)" = 0 ] || fail "output of nothing"
: >nothing
cp nothing nothing2
dfs put nothing nothing2 /empty
run --mapper cat --reducer 'wc -l' -i /empty -o /of-empty -r 1
printf '0\n' >zero
output_is /of-empty zero # a reducer without input is started too
run --mapper cat -i /empty -o /map-of-empty --map-only
dfs test -e /map-of-empty/_SUCCESS || fail "no _SUCCESS"
own='echo "$(basename $mapreduce_map_input_file) $mapreduce_map_input_start $mapreduce_map_input_length $(wc -l)"'
run --mapper "$own" -i /empty -o /whole-empty --format files --map-only
printf 'nothing 0 0 0\nnothing2 0 0 0\n' >wanted
sorted_output_is /whole-empty wanted # a file is a record, if it is empty, too

say "small files share a task, and a program still sees each for itself"
mkdir small
for i in 1 2 3 4 5 6 7; do
    printf 'header\n%d\n' $i >small/f$i
    printf 'f%d 0 9 2\n' $i
done >wanted
dfs put small /
run --mapper "$own" -i /small -o /own --map-only
sorted_output_is /own wanted
says 'succeeded in .*: [1-6] maps'

say "keys of any bytes, lines of megabytes"
random_file binary 3000000
tr -d '\t' <binary >binary-lines
printf '\n' >>binary-lines
LC_ALL=C sort binary-lines >binary-sorted
dfs put --chunk-size 1M binary-lines /binary
run --mapper cat --reducer cat -i /binary -o /binary-sorted -r 1
output_is /binary-sorted binary-sorted
run --mapper cat --reducer cat -i /binary -o /binary-sorted3 -r 3 --split-size 65536
sorted_output_is /binary-sorted3 binary-sorted
for i in 5 3 1 4 2; do
    head -c $((i * 1300000)) /dev/zero | tr '\0' "$i"
    printf '\n%d\n' $i
done >huge
LC_ALL=C sort huge >huge-sorted
dfs put --chunk-size 1M huge /huge
run --mapper cat --reducer cat -i /huge -o /huge-sorted -r 1 --split-size 1M
output_is /huge-sorted huge-sorted

run --mapper cat --reducer cat -i /huge -i /binary -o /spilled -r 1 --memory 1M # segments and spills on disk
LC_ALL=C sort huge binary-lines >spilled-sorted
output_is /spilled spilled-sorted

say "all parts together in order: ranges from samples of the input"
LC_ALL=C sort words >words-sorted
run --lib "$TRIREME_BUILD/sort.so" -i /in/words -o /ordered -r 4 --split-size 500K
output_is /ordered words-sorted
run --lib "$TRIREME_BUILD/sort.so" -i /in/words -o /ordered-auto
output_is /ordered-auto words-sorted
head -c 2000000 binary >records
/usr/bin/python3 -c 'import sys; d = open("records", "rb").read()
sys.stdout.buffer.write(b"".join(sorted(d[i:i + 100] for i in range(0, len(d), 100))))' >records-sorted
dfs put --chunk-size 1M records /records
run --lib "$TRIREME_BUILD/sort.so" --format fixed:100 --output-format raw -i /records -o /records-sorted -r 3 \
    --split-size 333K
output_is /records-sorted records-sorted

say "compressed input: a split for each file, whatever its size"
(head -n 20000 words | gzip && tail -n +20001 words | gzip) >words.gz
/usr/bin/python3 -c 'import bz2; open("unended.bz2", "wb").write(bz2.compress(open("unended", "rb").read(), 1))'
dfs mkdir /packed
dfs put --chunk-size 1M words.gz unended.bz2 /packed
run --lib "$wordcount" -i /packed -o /unpacked -r 3 --split-size 100K
sorted_output_is /unpacked counts
says 'succeeded in .*: 2 maps, 3 reduces'
says "Bytes Read=$(cat words.gz unended.bz2 | wc -c)$"
run --mapper cat --reducer cat -i /packed/words.gz -o /unpacked-sorted -r 1
output_is /unpacked-sorted words-sorted
run --lib "$TRIREME_BUILD/sort.so" -i /packed/words.gz -o /unpacked-ordered -r 3
output_is /unpacked-ordered words-sorted
head -c 5000 words.gz | dfs put - /cut.gz
run_fails 1 '/cut.gz: the compressed data ends in the middle, at offset 5000' --mapper cat -i /cut.gz --attempts 1
echo plain | dfs put - /plain.gz
run_fails 1 '/plain.gz: gzip: no gzip header at offset 0' --mapper cat -i /plain.gz --attempts 1
run --mapper cat -i /plain.gz -o /plain --map-only -D mapreduce.input.decompress=false
echo plain >plain
output_is /plain plain
dfs put plain /packed/plain.xz
run_fails 1 'input /packed/plain.xz: xz is not supported, only .gz, .bz2, .zst and .lz4' --mapper cat -i /packed

say "keys partitioned and sorted by their fields"
awk 'BEGIN { for (i = 0; i < 20000; i++) printf "%s\t%d\t%d\n", substr("abcdefgh", 1 + i % 8, 1), i * 7919 % 20011, i }' >fields
LC_ALL=C sort -t "$(printf '\t')" -k1,1 -k2,2nr fields >fields-sorted
dfs put fields /fields
run -D stream.num.map.output.key.fields=2 -D mapreduce.partition.keypartitioner.options=-k1,1 \
    -D mapreduce.job.output.key.comparator.class=org.apache.hadoop.mapred.lib.KeyFieldBasedComparator \
    -D mapreduce.partition.keycomparator.options='-k1,1 -k2,2nr' -mapper cat -reducer cat -input /fields -output /by-fields \
    -partitioner org.apache.hadoop.mapred.lib.KeyFieldBasedPartitioner -numReduceTasks 3 --split-size 50K
for part in 0 1 2; do
    dfs cat "/by-fields/part-0000$part" >"fields-$part"
    cut -f 1 "fields-$part" | uniq >>fields-keys
done
LC_ALL=C sort -m -t "$(printf '\t')" -k1,1 -k2,2nr fields-[012] >got
same_bytes got fields-sorted
[ "$(wc -l <fields-keys)" = 8 ] || fail "a first field is in two parts"
run --mapper cat --reducer cat --key-fields 2 --sort-by '1,1 2,2nr' -i /fields -o /by-flags -r 1 --memory 1M
output_is /by-flags fields-sorted

say "map-only; garbage; a mapper that stops reading"
run --mapper cat -i /in/words -o /map-only -r 0 --split-size 1M
sorted_output_is /map-only words-sorted
run --mapper 'cat garbage' --file binary#garbage -i /in/words -o /garbage --map-only --split-size 100M
dfs cat '/garbage/part-*' >got
cmp -n 3000000 got binary || fail "garbage was changed" # a last line may get its newline
run --mapper 'head -n 1' --reducer NONE -i /in/words -o /first --split-size 100M
head -n 1 words >first
output_is /first first

say "side files, environment, settings, counters, status"
printf 'yellow\n' >colour
cat >probe <<'END'
#!/bin/sh
cat >/dev/null
echo "reporter:counter:Probe,Runs,2" >&2
echo "reporter:status:probing" >&2
echo "hello from $mapreduce_task_attempt_id" >&2
echo "$(cat colour) $SHAPE $my_setting $mapreduce_job_reduces $mapreduce_task_is_map $(basename "$mapreduce_map_input_file")"
END
uploads()
{
    dfs ls -C -R /system/mr/uploads | wc -l
}
uploaded=$(uploads)
run --mapper ./probe --file probe --file colour --cmdenv SHAPE=round -D my.setting=7 -i /in/words -o /probe --map-only \
    --split-size 100M --name "a probe" --output-replication 1
printf 'yellow round 7 0 true words\n' >wanted
output_is /probe wanted
says '^.Probe$'
says '^..Runs=2$'
[ "$(uploads)" = "$uploaded" ] || fail "small files were uploaded"
job=$(mr list --all | head -n 1 | cut -f 1)
mr status "$job" | grep "$job succeeded (a probe)" >/dev/null || fail "mr status"
attempt=$(mr logs "$job" | cut -f 1)
mr logs "$job" "$attempt" | grep -x "hello from $attempt" >/dev/null || fail "mr logs JOB ATTEMPT"
mr logs "$attempt" | grep -x "hello from $attempt" >/dev/null || fail "mr logs ATTEMPT"
mr counters "$job" --json | /usr/bin/python3 -c 'import json, sys; assert json.load(sys.stdin)["Probe"]["Runs"] == 2'
random_file large 65537 # does not go with the submission, as the other files do
run --mapper 'cat >/dev/null; cat large; cat colour' --file large --file colour -i /in/words -o /large --map-only --split-size 100M \
    --output-replication 1
cat large colour >wanted
dfs cat '/large/part-*' >got
cmp -n 65537 got wanted || fail "a large file was changed" # a last line may get its newline
[ "$(uploads)" = $((uploaded + 2)) ] || fail "not one file in one new directory of uploads"

say "what is wrong is said"
run_fails 1 'input /nowhere does not exist' --mapper cat -i /nowhere
expect 1 mr run --mapper cat -i /in -o /native1
grep -q 'output directory /native1 already exists' "$T/err"
run_fails 1 'matches' --mapper cat -i '/in/*.none'
expect 1 mr status job_1_9999
grep -q 'no such job' "$T/err"
expect 1 mr run --mapper cat -i /in -o /in/words/x
run_fails 1 "cannot start 'no-such-program'" --mapper no-such-program -i /in --attempts 1
expect 2 mr run --mapper cat -i /in -o /in/out
grep -q 'inside the input' "$T/err"

say "tasks that fail: their own words come first"
run_fails 1 "exited with status 3" --mapper "sh -c 'echo it is the moon >&2; exit 3'" -i /in/words --attempts 1
[ "$(grep -v -e '^map ' -e submitted "$T/err" | head -n 1)" = "it is the moon" ] || fail "$(cat "$T/err")"
grep -qE 'mr logs job_[0-9_]+ attempt_[0-9_mr]+' "$T/err" || fail "no hint at mr logs"
run_fails 1 'status 139' --mapper "sh -c 'kill -SEGV \$\$'" -i /in/words --attempts 2
run_fails 1 'status 137' --mapper cat --reducer "sh -c 'kill -KILL \$\$'" -i /in/words --attempts 2 -r 1
cat >faulty.c <<'END'
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <trireme/mapreduce.h>

/* The fault named by the setting; only once if a file is named that it can make. */
static void fault(struct mr_ctx *ctx)
{
    const char *kind = mr_config(ctx, "fault");
    const char *once = mr_config(ctx, "once");
    if (!kind || (once && open(once, O_CREAT | O_EXCL, 0600) < 0)) {
        return;
    }
    fprintf(stderr, "now comes %s\n", kind);
    switch (kind[0]) {
    case 's':
        raise(SIGSEGV);
        break;
    case 'h':
        for (;;) {
            pause();
        }
    case 'e':
        exit(0);
    case 'm':
        while (malloc(1 << 20)) {
        }
        abort();
    default:
        mr_fail(ctx, "record 12 is odd");
    }
}

static void map(struct mr_ctx *ctx, struct mr_span key, struct mr_span value)
{
    (void)key;
    if (!mr_config(ctx, "in.reduce")) {
        fault(ctx);
    }
    mr_emit(ctx, value, mr_bytes(NULL, 0));
}

static void reduce(struct mr_ctx *ctx, struct mr_span key, struct mr_values *values)
{
    struct mr_span value;
    if (mr_config(ctx, "in.reduce")) {
        fault(ctx);
    }
    while (mr_values_next(values, &value)) {
        mr_emit(ctx, key, value);
    }
}

static const struct mr_job job = {MR_JOB_HEADER, .name = "faulty", .map = map, .reduce = reduce};

MR_EXPORT const struct mr_job *mr_job_v1(void)
{
    return &job;
}
END
cc -O1 -shared -fPIC -I "$TRIREME_SOURCE/mapreduce/include" -o faulty.so faulty.c
faulty=(--lib ./faulty.so -i /in/words)
run_fails 1 'record 12 is odd' "${faulty[@]}" -D fault=fail --attempts 1
for place in "" "-D in.reduce=1"; do
    # shellcheck disable=SC2086
    {
        run_fails 1 'signal 11 (Segmentation fault)' "${faulty[@]}" -D fault=segv --attempts 2 $place
        grep -qx 'now comes segv' "$T/err" || fail "the task's last words are missing"
        run_fails 1 'ended with status 0 before its task did' "${faulty[@]}" -D fault=exit --attempts 1 $place
        run_fails 1 'no sign of progress' "${faulty[@]}" -D fault=hang --attempts 1 --timeout 1s $place
        run_fails 1 'now comes memory' "${faulty[@]}" -D fault=memory --attempts 1 --task-memory 256M $place
        run "${faulty[@]}" -D fault=segv -D once="$T/once${place:+-reduce}" -o "/once${place:+-reduce}" -r 2 $place
        says 'Attempts: 1 failed'
        sorted_output_is "/once${place:+-reduce}" words-sorted
    }
done
run_fails 1 'no sign of progress' --mapper 'sleep 1000' -i /in/words --attempts 1 --timeout 1s
run_fails 1 'MemoryError' --mapper '/usr/bin/python3 -c "bytearray(1 << 30)"' -i /in/words --attempts 1 \
    --task-memory 512M

say "a worker that cannot start tasks: jobs that forgive no failure do not notice"
printf '#!/bin/sh\nexit 7\n' >not-mrtask
chmod +x not-mrtask
setpriv --pdeathsig KILL mrworker --data broken-worker --masters "$DFS_MASTER" --mrmaster "$MR_MASTER" \
    --listen 127.0.0.1:0 --host host9 --slots 8 --task-program "$T/not-mrtask" 2>broken-log &
broken=$!
broken_is()
{
    mr workers --json | /usr/bin/python3 -c "import json, sys
w = [w for w in json.load(sys.stdin) if w['host'] == 'host9']; sys.exit(not (w and ($1)))"
}
wait_until 20 broken_is 'True'
run --lib "$wordcount" -i /in -o /beside-broken -r 3 --attempts 1 --split-size 100K
sorted_output_is /beside-broken counts
says 'Attempts: 0 failed, [0-9]+ lost'
broken_is 'w[0]["avoided"] and "ended with status 7 before it took a task" in w[0]["trouble"]' || fail "$(mr workers)"
mr why | grep 'host9 at 127.0.0.1:[0-9]* cannot start tasks: ' >/dev/null || fail "mr why"
kill $broken
wait $broken || fail "mrworker ended with status $?"
grep -q 'no task process.*status 7' broken-log || fail "the worker's log does not say so"

say "a worker that has lost its spawner ends, for whoever started it to start it again"
setpriv --pdeathsig KILL mrworker --data lone-worker --masters "$DFS_MASTER" --mrmaster "$MR_MASTER" \
    --listen 127.0.0.1:0 --host host8 --slots 1 2>lone-log &
lone=$!
lone_has_ended()
{
    ! kill -0 $lone
}
wait_until 20 grep -q ' joined ' lone-log
kill -KILL "$(cat /proc/$lone/task/$lone/children)"
wait_until 20 lone_has_ended
wait $lone || fail "mrworker ended with status $?"

say "a worker that listens everywhere must be told where others reach it; so must a chunkserver"
for program in "mrworker --mrmaster $MR_MASTER" chunkserver; do
    for address in 0.0.0.0:0 :0; do
        status=0
        timeout 20 $program --data everywhere --masters "$DFS_MASTER" --listen $address --insecure 2>"$T/err" || status=$?
        [ $status = 1 ] || fail "$program --listen $address: status $status"
        grep -q 'say one with --advertise HOST:PORT' "$T/err" || fail "$(cat "$T/err")"
    done
    rm -r everywhere
done

say "after a crash whose last words are no text JSON still has all of it, and old logs stay readable"
cat >last-words <<'EOT'
#!/bin/sh
printf 'last \377words\n' >&2
until [ -s /proc/$PPID/fd/2 ]; do sleep 0.1; done # the task has put it into its log
kill -KILL $PPID
EOT
chmod +x last-words
expect 1 mr run --json --mapper "$T/last-words" -i /in/words --attempts 1 -o /no
/usr/bin/python3 -c 'import json, sys; j = json.load(sys.stdin); sys.exit("last ?words" not in j["failure"])' <"$T/out" || fail "$(cat "$T/out")"
mr logs --json | grep -q 'last ?words' || fail "$(mr logs --json)"

say "kill; detach; Ctrl-C leaves the job"
job=$(mr run "${faulty[@]}" -D fault=hang -o /killed --detach)
wait_until 20 job_has "$job" 'j["maps"]["running"] > 0'
mr why "$job" | grep 'It waits for nothing' >/dev/null || fail "mr why"
[ "$(mr kill "$job")" = "$job killed" ] || fail "mr kill"
expect 1 dfs test -e /killed
run --lib "$wordcount" -i /in -o /killed -r 1 # the name is free
sorted_output_is /killed counts
mr run --mapper cat -i /in/words -o /never --mrmaster 127.0.0.1:1 2>"$T/begun" & # nobody there: it waits to submit
wait_until 20 grep -q '^waiting: ' "$T/begun"
kill -INT $!
status=0
wait $! || status=$?
[ $status = 130 ] || fail "status $status after Ctrl-C before the job was submitted"
grep -q '^mr run: interrupted' "$T/begun" || fail "$(cat "$T/begun")"
begin --mapper 'sh -c "sleep 1; cat"' -i /in/words -o /left --map-only --split-size 100M
kill -INT $!
status=0
wait $! || status=$?
[ $status = 130 ] || fail "status $status after Ctrl-C"
grep "$job goes on; to end it: mr kill $job" "$T/begun" >/dev/null || fail "$(cat "$T/begun")"
wait_until 20 dfs test -e /left
sorted_output_is /left words-sorted
begin "${faulty[@]}" -D fault=hang -o /interrupted --kill-on-interrupt
kill -INT $!
status=0
wait $! || status=$?
[ $status = 130 ] || fail "status $status after Ctrl-C"
job_has "$job" 'j["state"] == "killed"' || fail "Ctrl-C did not kill $job"

say "a worker dies, then the job master, while jobs run"
printf '\n' | cat unended - words | LC_ALL=C sort >both-sorted
slow=(--mapper "sh -c 'cat; sleep 0.3'" --reducer cat -i /in -r 2 --split-size 300K)
begin "${slow[@]}" -o /survivor
wait_until 20 job_has "$job" 'j["maps"]["done"] > 2'
kill9 mrworker2
wait $! || fail "$(cat "$T/begun")"
sorted_output_is /survivor both-sorted
cluster_up
begin "${slow[@]}" -o /survivor2
wait_until 20 job_has "$job" 'j["maps"]["done"] > 2'
kill9 mrmaster1
cluster_up
wait $! || fail "$(cat "$T/begun")"
sorted_output_is /survivor2 both-sorted

say "the store is away while a job runs: mr why says so, and the job goes on"
begin "${slow[@]}" -o /patient
wait_until 20 job_has "$job" 'j["maps"]["done"] > 2'
kill9 fsmaster1
wait_until 60 sh -c "mr why $job | grep -q '^Waiting: the store does not answer: the file master at 127.0.0.1:[0-9]* does not answer'"
cluster_up
wait $! || fail "$(cat "$T/begun")"
sorted_output_is /patient both-sorted

say "a mrmaster that is told to end while the store is away does not wait for it, and loses nothing"
begin "${slow[@]}" -o /stopped
stopped=$!
wait_until 20 job_has "$job" 'j["maps"]["done"] > 2'
pause fsmaster1
wait_until 60 sh -c "mr why $job | grep -q '^Waiting: the store does not answer'"
ended=$(cluster_field mrmaster1 pid)
kill -TERM "$ended"
wait_until 60 sh -c "[ ! -e /proc/$ended ] || grep -q '^State:.Z' /proc/$ended/status"

say "nor does one that is told to end before the store has answered it"
mrmaster --data "$T/early" --listen 127.0.0.1:0 --masters "$DFS_MASTER" 2>"$T/early.log" &
early=$!
wait_until 20 grep -q "asking the store" "$T/early.log" # which is paused
kill -TERM $early
wait $early || fail "$(cat "$T/early.log")"
grep -q "ended while it did not serve" "$T/early.log"
resume fsmaster1
cluster_up
wait $stopped || fail "$(cat "$T/begun")"
sorted_output_is /stopped both-sorted

say "done"
