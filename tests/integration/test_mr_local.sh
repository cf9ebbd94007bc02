#!/bin/bash
# mr run --local over real text, native and with programs, against what sort and uniq say.
set -u -o pipefail
build=${TRIREME_BUILD:-$(cd "$(dirname "$0")/../.." && pwd)/build/release}
mr="$build/bin/mr"
here=$(cd "$(dirname "$0")/.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1
export LC_ALL=C
failures=0

fail() {
    echo "FAILED: $*"
    failures=$((failures + 1))
}

expect() { # NAME WANTED GOT: two files
    if cmp -s "$2" "$3"; then echo "ok: $1"; else fail "$1"; diff "$2" "$3" | head -5; fi
}

refuse() { # NAME TEXT COMMAND...: fails, and says TEXT
    local name=$1 text=$2
    shift 2
    if "$@" >said 2>&1; then fail "$name: succeeded"; elif grep -qF -- "$text" said; then echo "ok: $name"
    else fail "$name: said $(cat said)"; fi
}

run() { "$mr" run --local -q "$@"; }

# Text that is on every machine that builds this: perl's library and the documentation.
mkdir books
find /usr/share/perl /usr/share/doc /usr/share/common-licenses -type f -size -3000k \
    \( -name '*.pm' -o -name '*.pl' -o -name '*.pod' -o -name copyright -o -name 'GPL*' \) -print0 2>/dev/null |
    sort -z | head -z -n 4000 | xargs -0 cat >all.txt
[ -s all.txt ] || seq 1 200000 | sed 's/$/ the quick brown fox/' >all.txt
split -n l/7 all.txt books/part
printf 'no newline at the end of this file' >books/z-last
cat books/* >all.txt
tr -s '[:space:]' '\n' <all.txt | grep -v '^$' | sort | uniq -c | awk '{print $2 "\t" $1}' | sort >count.ref
echo "$(wc -c <all.txt) bytes, $(wc -l <count.ref) words"

# ---- Native ----
for variant in "-r 1" "-r 5" "-r 3 --memory 1M --split 300000" "-r 2 -j 1" \
    "-r 2 --memory 1M --split 777777 -D mapreduce.map.output.compress=true"; do
    rm -rf out
    # shellcheck disable=SC2086
    run --lib "$build/wordcount.so" -i books -o out $variant || fail "wordcount $variant"
    sort out/part-* >got
    expect "wordcount $variant" count.ref got
    [ -f out/_SUCCESS ] || fail "no _SUCCESS"
done

sort all.txt >sort.ref
for variant in "-r 1" "-r 4" "-r 4 --memory 1M --split 1000003"; do
    rm -rf out
    # shellcheck disable=SC2086
    run --lib "$build/sort.so" -i all.txt -o out $variant || fail "sort $variant"
    cat out/part-* >got
    expect "sort $variant: the files together are in order" sort.ref got
done

head -c 9999900 /dev/urandom >records
rm -rf out
run --lib "$build/sort.so" --format fixed:100 --output-format raw -D sort.key.bytes=10 -r 3 --memory 2M \
    -i records -o out || fail "sort of records"
python3 - records out/part-* >got <<'PY' || fail "sort of records: order or content"
import sys
data = open(sys.argv[1], "rb").read()
records = sorted((data[i:i + 100] for i in range(0, len(data), 100)), key=lambda r: r[:10])
sys.exit(b"".join(records) != b"".join(open(f, "rb").read() for f in sys.argv[2:]))
PY

rm -rf out
run --lib "$build/grep.so" -D grep.pattern='sub\s+\w+_\w+' -r 0 -i all.txt -o out --split 500000 || fail grep
grep -P 'sub\s+\w+_\w+' all.txt >grep.ref
cat out/part-* >got
expect "grep, map only" grep.ref got

rm -rf out
run --lib "$build/index.so" -i books -o out -r 2 || fail index
word=$(sort -t "$(printf '\t')" -k2,2n count.ref | tail -1 | cut -f1)
for book in books/*; do
    [ "$(tr -s "[:space:]" "\n" <"$book" | grep -cxF -- "$word")" -gt 0 ] && echo "$book"
done | paste -sd, | sed 's/,/, /g' >index.ref
cat out/part-* | grep -F -- "$word$(printf '\t')" | awk -F '\t' -v w="$word" '($1 "") == w {print $2}' >got
expect "index: the files of '$word'" index.ref got

# ---- Programs ----
cat >map.py <<'PY'
import os, sys
print("reporter:counter:Words,Tasks,1", file=sys.stderr)
print("reporter:status:begun", file=sys.stderr)
assert os.environ["mapreduce_task_is_map"] == "true"
assert os.environ["mapreduce_map_input_file"].endswith(("part" + os.environ["mapreduce_map_input_file"][-2:], "z-last"))
assert os.environ["COLOUR"] == "blue"
for line in sys.stdin.buffer:
    for word in line.split():
        sys.stdout.buffer.write(word + b"\t1\n")
PY
cat >reduce.awk <<'AWK'
BEGIN { FS = "\t" }
NR > 1 && ($1 "") != last { print last "\t" sum; sum = 0 }
{ last = $1; sum += $2 }
END { if (NR) print last "\t" sum }
AWK
# The words as awk and python divide them: python's bytes.split() knows VT and FF as tr does.
for combiner in "" "awk -f reduce.awk"; do
    rm -rf out
    "$mr" run --local -input books -output out -mapper "python3 map.py" -reducer "awk -f reduce.awk" \
        ${combiner:+-combiner "$combiner"} -file map.py -files reduce.awk -numReduceTasks 3 --memory 4M \
        -cmdenv COLOUR=blue 2>said || fail "streaming: $(tail -3 said)"
    sort out/part-* >got
    expect "streaming word count, combiner '$combiner'" count.ref got
    grep -q 'Tasks=[1-9]' said || fail "counter of a program"
done

rm -rf out
run --mapper "tr -s '[:space:]' '\n'" --reducer 'uniq -c' -r 1 -i all.txt -o out || fail "shell commands"
awk 'NF == 2 {print $2 "\t" $1}' out/part-00000 | sort >got
expect "shell commands as mapper and reducer" count.ref got

rm -rf out
run --mapper 'head -n 1' -r 1 -i all.txt -o out --split 100M || fail "a mapper that stops reading"
head -n 1 all.txt >one.ref
expect "a mapper that stops reading" one.ref out/part-00000

rm -rf out
run --mapper cat --reducer NONE -i books/z-last -o out || fail "map only"
printf 'no newline at the end of this file\n' >last.ref
expect "map-only program" last.ref out/part-00000

# Small files share a map task, and a program still sees each for itself.
mkdir small
for i in 1 2 3; do printf 'header\n%d\n%d\n' $i $((i * 10)) >small/f$i; done
: >small/nothing
cat >own.sh <<'SH'
[ "$mapreduce_map_input_start" = 0 ] && read -r header && [ "$header" = header ] || exit 7
sed "s,^,$(basename "$map_input_file") $mapreduce_map_input_length ,"
SH
printf 'f%d 12 %d\n' 1 1 1 10 2 2 2 20 3 3 3 30 >one.ref
rm -rf out
run --mapper 'sh own.sh' --file own.sh --reducer NONE -i small -o out || fail "small files"
expect "a process for each small file, with its name, start and length" one.ref out/part-00000
rm -rf out
run --mapper 'head -n 2' --combiner 'sed "s/$/ $mapreduce_map_input_file./"' --reducer cat -i small -o out -r 1 || fail "small"
printf '%s .\n' 1 2 3 header header header >one.ref
expect "a mapper that stops reading has the next file; a combiner has no file of its own" one.ref out/part-00000
rm -rf out
run --mapper 'echo "$(basename $mapreduce_map_input_file) $(wc -l)"' --format files --reducer NONE -i small -o out ||
    fail "whole files"
printf 'f1 3\nf2 3\nf3 3\nnothing 0\n' >one.ref
expect "whole files, an empty one too" one.ref out/part-00000

# ---- Compressed input: by the ends of names, never cut, several members in a file ----
mkdir packed
head -n 100000 all.txt >some.txt
tr -s '[:space:]' '\n' <some.txt | grep -v '^$' | sort | uniq -c | awk '{print $2 "\t" $1}' | sort >some.ref
(head -n 1000 some.txt | gzip && tail -n +1001 some.txt | gzip -1) >packed/all.gz
rm -rf out
run --lib "$build/wordcount.so" -i packed -o out -r 3 --split 300000 || fail "word count of gzip"
sort out/part-* >got
expect "word count of a .gz of two members" some.ref got
# Frames by hand, so that the tools need not be there: zstd's with raw blocks, lz4's with uncompressed ones.
python3 - packed/all.zst packed/all.lz4 packed/all.bz2 <<'PY' || fail "frames"
import bz2, struct, sys
data = open("some.txt", "rb").read()
open(sys.argv[3], "wb").write(bz2.compress(data[:5000]) + bz2.compress(data[5000:]))
blocks = [data[i:i + 65536] for i in range(0, len(data), 65536)]
with open(sys.argv[1], "wb") as f:
    f.write(b"\x28\xb5\x2f\xfd\x00\x38")
    for block in blocks:
        f.write(struct.pack("<I", len(block) << 3 | (block is blocks[-1]))[:3] + block)
with open(sys.argv[2], "wb") as f:
    f.write(b"\x04\x22\x4d\x18\x60\x40\x82")
    for block in blocks:
        f.write(struct.pack("<I", len(block) | 1 << 31) + block)
    f.write(b"\0\0\0\0")
PY
rm -rf out
run --mapper "tr -s '[:space:]' '\n'" --reducer 'uniq -c' -r 2 -i packed -o out --split 300000 || fail "four formats"
cat out/part-* | awk 'NF == 2 {print $2 "\t" $1 / 4}' | sort >got
expect "programs get the text of .gz, .bz2, .zst and .lz4" some.ref got
rm -rf out
"$mr" run --local --mapper 'cat >/dev/null; echo "$(basename $mapreduce_map_input_file) $mapreduce_map_input_start"' \
    --reducer NONE -i packed -o out --split 20M 2>said || fail "$(tail -3 said)"
cat out/part-* | sort >got
printf 'all.%s 0\n' bz2 gz lz4 zst >one.ref
expect "a map task for each compressed file" one.ref got
bytes=$(cat packed/* | wc -c)
grep -q "Bytes Read=$bytes$" said || fail "bytes read are not those of the files: $bytes, $(grep 'Bytes Read' said)"
rm -rf out
run --lib "$build/sort.so" -i packed/all.gz -i packed/all.zst -o out -r 4 || fail "sort of compressed files"
cat out/part-* >got
sort some.txt some.txt >one.ref
expect "sort of compressed files: the parts together are in order" one.ref got
cp records cut.gz
rm -rf out
run --mapper cat --reducer NONE -D mapreduce.input.decompress=false -i cut.gz -o out --split 100M || fail "as it is"
if cmp -n 9999900 cut.gz out/part-00000; then echo "ok: compressed files as they are"; else fail "as it is"; fi
rm -rf out
head -c $(($(stat -c %s packed/all.gz) - 1000)) packed/all.gz >cut.gz
refuse "a cut .gz" "cut.gz: the compressed data ends in the middle, at offset $(stat -c %s cut.gz)" \
    run --lib "$build/wordcount.so" -i books -i cut.gz -o out
(head -c 1000 packed/all.gz; echo nonsense; tail -c +1010 packed/all.gz) >bad.gz
refuse "a damaged .gz" "bad.gz: gzip: " run --mapper cat --reducer cat -i bad.gz -o out
grep -qE 'at offset [0-9]+$' said || fail "no offset: $(cat said)"
refuse "what is no .gz" "books.gz: gzip: no gzip header at offset 0" run --lib "$build/wordcount.so" \
    -i "$(ln -s books/z-last books.gz && echo books.gz)" -o out
refuse "a format that is not read" "all.xz: xz is not supported, only .gz" run --lib "$build/wordcount.so" \
    -i "$(: >all.xz && echo all.xz)" -o out

# ---- Fields of keys: which reduce, which order; by Hadoop's names and by short flags ----
awk 'BEGIN { srand(3); for (i = 0; i < 30000; i++)
    printf "%s\t%d\tv%d\n", substr("abcdefghij", 1 + int(rand() * 10), 1 + int(rand() * 2)), i * 7919 % 100003 - 50000, i }' >fields
sort -t "$(printf '\t')" -k1,1 -k2,2nr fields >fields.ref
rm -rf out
run --mapper cat --reducer cat -i fields -o out -r 1 --key-fields 2 --partition-by 1,1 --sort-by '1,1 2,2nr' \
    --memory 1M --split 50K || fail "short flags"
expect "sorted by fields, with spills" fields.ref out/part-00000
rm -rf out # the combiner prints while a record of the mapper waits for room
"$mr" run --local --mapper cat --combiner cat --reducer cat -i fields -o out -r 1 --key-fields 2 --sort-by '1,1 2,2nr' \
    --memory 1M --split 100M 2>said || fail "$(tail -3 said)"
expect "sorted by fields, with spills, through a combiner" fields.ref out/part-00000
cat >first.awk <<'AWK'
{ if (NR > 1 && $1 == last && $2 + 0 >= value + 0) print "not in order: " $0; last = $1; value = $2; seen[$1] = 1 }
END { for (key in seen) print key }
AWK
rm -rf out
run -D stream.num.map.output.key.fields=2 \
    -D mapreduce.job.output.key.comparator.class=org.apache.hadoop.mapreduce.lib.partition.KeyFieldBasedComparator \
    -D mapreduce.partition.keycomparator.options='-k1,1 -k2,2nr' -D mapreduce.partition.keypartitioner.options=-k1,1 \
    -partitioner org.apache.hadoop.mapred.lib.KeyFieldBasedPartitioner \
    -mapper cat -combiner cat -reducer 'awk -f first.awk' -file first.awk -input fields -output out -numReduceTasks 4 \
    --split 50K || fail "Hadoop's names"
cat out/part-* | sort >got # a key twice: two reduces had it
cut -f 1 fields | sort -u >one.ref
expect "by Hadoop's names: each first field in one reduce, in order, through a combiner" one.ref got
rm -rf out
tr '\t' . <fields >dotted
run -D stream.map.output.field.separator=. -D stream.num.map.output.key.fields=2 -D map.output.key.field.separator=. \
    -D mapred.text.key.comparator.options=-k2n -i dotted -o out -r 1 --mapper cat || fail "separator"
sort -t . -k2,2n dotted | awk -F . '{print $1 "." $2 "\t" $3}' >one.ref
expect "separator, older names, no reducer" one.ref out/part-00000
rm -rf out
run --mapper cat --reducer NONE --sort-by 1n -i fields -o out --split 100M || fail "map only"
expect "nothing is sorted without a reduce" fields out/part-00000
refuse "bad fields" "'-k0' is not -kF" run --mapper cat --partition-by -k0 -i fields -o out2
refuse "unknown partitioner" "partitioner 'org.example.Mine' is not known" run --mapper cat \
    -partitioner org.example.Mine -i fields -o out2
refuse "unknown comparator" "comparator 'x.Y' is not known" run --mapper cat \
    -D mapreduce.job.output.key.comparator.class=x.Y -i fields -o out2
refuse "fields of a library" "map function of this job is the library" run --lib "$build/wordcount.so" --sort-by 1n -i fields -o out2
refuse "fields and total order" "a total order goes by whole keys" run --mapper cat --partitioner total --sort-by 1n \
    -i fields -o out2

# ---- Nothing, and what must fail ----
: >empty
rm -rf out
run --lib "$build/wordcount.so" -i empty -o out -r 2 || fail "empty input"
[ "$(cat out/part-00000 out/part-00001 | wc -c)" = 0 ] && echo "ok: empty input" || fail "empty input"
refuse "output exists" "already exists" run --lib "$build/wordcount.so" -i books -o out
rm -rf out
refuse "input missing" "no-such-file" run --lib "$build/wordcount.so" -i no-such-file -o out
refuse "no library" "no-such.so" run --lib ./no-such.so -i books -o out
refuse "not a job" "mr_job_v1" run --lib "$(ldconfig -p | awk '/libz.so.1 /{print $NF; exit}')" -i books -o out
refuse "mapper fails" "status 3" run --mapper 'cat >/dev/null; echo my last words >&2; exit 3' -i books -o out
grep -q 'my last words' said || fail "last words of a failed program"
refuse "mapper crashes" "signal" run --mapper 'kill -SEGV $$' -i books -o out
refuse "mapper is not there" "cannot start" run --mapper no-such-program -i books -o out
refuse "record too long" "offset" run --lib "$build/sort.so" \
    -D mapreduce.input.linerecordreader.line.maxlength=20 -i all.txt -o out
refuse "cut records" "offset" run --lib "$build/sort.so" --format fixed:1000 -i books/z-last -o out
# Code that ends its process, in one of its own and in ours; and that of a process that it has forked.
cat >leave.c <<'END'
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <trireme/mapreduce.h>

static void leave(struct mr_ctx *ctx, const char *from)
{
    const char *where = mr_config(ctx, "leave");
    if (where && strcmp(where, from) == 0) {
        printf("bye from %s\n", from);
        exit(0);
    }
}

static void map(struct mr_ctx *ctx, struct mr_span key, struct mr_span value)
{
    (void)key;
    if (mr_config(ctx, "fork")) {
        pid_t child = fork();
        if (child == 0) {
            exit(0);
        }
        waitpid(child, NULL, 0);
    }
    leave(ctx, "map");
    mr_emit(ctx, value, mr_bytes(NULL, 0));
}

static void reduce(struct mr_ctx *ctx, struct mr_span key, struct mr_values *values)
{
    (void)values;
    leave(ctx, "reduce");
    mr_emit(ctx, key, mr_bytes(NULL, 0));
}

static const struct mr_job job = {MR_JOB_HEADER, .name = "leave", .map = map, .reduce = reduce};

MR_EXPORT const struct mr_job *mr_job_v1(void)
{
    return &job;
}
END
source=$(dirname "$here")
cc -O1 -shared -fPIC -I "$source/mapreduce/include" -o leave.so leave.c || fail "leave.c"
for parallel in 1 2; do
    for where in map reduce; do
        refuse "exit(0) in $where, -j $parallel" "the user's code called exit(0)" run --lib ./leave.so -D leave=$where \
            -i one.ref -o out -r 2 -j $parallel
        [ $parallel = 2 ] || grep -qx "mr run: the user's code called exit(0)" said || fail "$(cat said)"
    done
    rm -rf forked
    run --lib ./leave.so -D fork=1 -i books/z-last -o forked -r 1 -j $parallel || fail "a forked process that ends"
    expect "a forked process may end, -j $parallel" last.ref forked/part-00000
done
refuse "exit(0) where samples are mapped" "the user's code called exit(0)" run --lib ./leave.so -D leave=map \
    --partitioner total -i one.ref -o out -r 2 -j 2
[ -e out ] && fail "a failed job left its output"
[ -z "$(find . -maxdepth 1 -name '.out*')" ] || fail "a failed job left its temporary directory"

[ "$failures" = 0 ] && echo "all passed"
exit "$((failures > 0))"
