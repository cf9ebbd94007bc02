#!/bin/bash
# mrjob, unmodified, with its Hadoop runner: its word count through our `hadoop` gives what its own inline runner gives.
# Needs the network for pip; without it the test is skipped and says so.
. "$(dirname "$0")/../lib/cluster.sh"
WANTED=mrjob==0.7.4
/usr/bin/python3 -m venv "$T/venv" >"$T/pip.log" 2>&1 ||
    skip "skipped: python3 cannot make a virtual environment (Debian: apt-get install python3-venv)"
timeout 300 "$T/venv/bin/pip" install --quiet "$WANTED" >"$T/pip.log" 2>&1 ||
    skip "skipped: pip cannot install $WANTED: $(tail -n 1 "$T/pip.log")"

cluster_up --masters 1 --chunkservers 3 --workers 2
cd "$T"
cat >word_count.py <<'END_OF_JOB'
import re

from mrjob.job import MRJob


class WordCount(MRJob):
    def mapper(self, _, line):
        for word in re.findall(r"[\w']+", line):
            yield word.lower(), 1

    def combiner(self, word, counts):
        yield word, sum(counts)

    def reducer(self, word, counts):
        self.increment_counter("words", "different")
        yield word, sum(counts)


if __name__ == "__main__":
    WordCount.run()
END_OF_JOB
cat /usr/share/common-licenses/[A-G]* >one.txt
cat /usr/share/common-licenses/L* >two.txt
export HOME=$T # no settings of the caller's

say "inline, by mrjob itself"
venv/bin/python word_count.py --quiet -r inline one.txt two.txt >wanted
say "through hadoop"
venv/bin/python word_count.py -r hadoop one.txt two.txt >got 2>err || { cat err; fail "mrjob's Hadoop runner failed"; }
cmp <(LC_ALL=C sort wanted) <(LC_ALL=C sort got)
[ "$(wc -l <got)" -gt 1000 ]
grep -q "Using Hadoop version 3" err
grep -q "different=[1-9]" err || { cat err; fail "mrjob found no counters of the job"; }
grep -q "Map input records=[1-9]" err

say "files that lie in the store already, output kept there"
dfs mkdir -p /in
dfs put one.txt two.txt /in/
venv/bin/python word_count.py -r hadoop hdfs:///in/one.txt hdfs:///in/two.txt --output-dir hdfs:///counted --cat-output >again 2>err ||
    { cat err; fail "mrjob's Hadoop runner failed on files of the store"; }
cmp <(LC_ALL=C sort wanted) <(LC_ALL=C sort again)
cmp <(LC_ALL=C sort wanted) <(dfs cat '/counted/part-*' | LC_ALL=C sort)

say "a job that fails"
sed 's/yield word.lower(), 1/raise ValueError("no word")/' word_count.py >broken.py
status=0
venv/bin/python broken.py -r hadoop one.txt >out 2>err || status=$?
[ $status = 1 ]
grep -q "ValueError: no word" err || { cat err; fail "the task's own last words are missing"; }
