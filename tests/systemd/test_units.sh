#!/bin/bash
# The package under a real systemd, in a machine of its own: units start when ready and say what they wait for, a job runs
# within what they forbid, the journal knows the levels, and what ends, is killed, hangs or loses its disk is treated as the
# units say; upgrade, removal and purge leave what they should.
. "$(dirname "$0")/../lib/cluster.sh"
. "$(dirname "$0")/../lib/machine.sh"
cd "$T"
for tool in cpack dpkg-shlibdeps file strace; do
    command -v $tool >/dev/null || skip "$tool is not installed"
done
daemons='fsmaster chunkserver mrmaster mrworker'
library=/usr/lib/$(dpkg-architecture -qDEB_HOST_MULTIARCH)/trireme

say "a machine, and the package in it"
machine_up
cpack --config "$TRIREME_BUILD/CPackConfig.cmake" -B "$T/made" >cpack.log 2>&1 || fail "$(cat cpack.log)"
inside sh -c 'cat >/var/tmp/trireme.deb' <"$(echo made/trireme_*.deb)"
install_package()
{
    inside dpkg -i /var/tmp/trireme.deb >dpkg.log 2>&1 || fail "$(cat dpkg.log)"
}

# of DAEMON PROPERTY: what systemd knows of its unit.
of()
{
    inside systemctl show --value -p "$2" "trireme-$1.service"
}

install_package
for daemon in $daemons; do
    [ "$(inside systemctl is-enabled trireme-$daemon || true)" = disabled ] || fail "trireme-$daemon is enabled by the installation"
    is inactive of $daemon ActiveState || fail "trireme-$daemon was started by the installation"
done
inside sed -i 's/^#http/http/; /^\[fsmaster\]/a single = true' /etc/trireme/trireme.conf

say "they start when they are ready, and say what they wait for until then"
inside systemctl enable --quiet --now --no-block trireme-mrworker trireme-mrmaster trireme-chunkserver
status_is()
{
    [[ "$(of "$1" ActiveState) $(of "$1" StatusText)" == $2 ]] || { echo "$1: $(of "$1" StatusText)" >&2; return 1; }
}
wait_until 60 status_is chunkserver 'activating waiting for a file master *'
wait_until 60 status_is mrmaster 'activating asking the file masters *'
wait_until 60 status_is mrworker 'activating waiting for a mrmaster *'
inside systemctl enable --quiet --now trireme-fsmaster # comes back when it is ready
status_is fsmaster 'active serving at 127.0.0.1:7000'
inside systemctl start trireme-mrworker trireme-mrmaster trireme-chunkserver
for daemon in $daemons; do
    status_is $daemon 'active serving at *'
done
is 'trireme trireme trireme trireme-mr' inside sh -c 'echo $(for d in '"$daemons"'; do stat -c %U /proc/$(systemctl show --value -p MainPID trireme-$d); done)'

say "the store and jobs work within what the units forbid"
random_file big 5000000
seq 1 20000 >numbers
inside sh -c 'cat >/var/tmp/big' <big
inside sh -c 'cat >/var/tmp/numbers' <numbers
as trireme dfs mkdir -p /in
as trireme dfs put /var/tmp/big /big
as trireme dfs put /var/tmp/numbers /in/numbers
as trireme dfs cat /big | cmp - big
metric()
{
    inside python3 -c 'import re, sys, urllib.request as u
print(re.search("(?m)^" + sys.argv[2] + " (.*)", u.urlopen("http://127.0.0.1:" + sys.argv[1] + "/metrics").read().decode())[1])' "$@"
}
[ "$(metric 7101 trireme_chunkserver_local_reads_total)" -gt 0 ] || fail "nothing was read by descriptor"
as trireme mr run --quiet --lib $library/wordcount.so -i /in -o /counted
[ "$(as trireme dfs cat '/counted/part-*' | wc -l)" = 20000 ] || fail "words are missing"
# Who a task is, what of systemd it has, and what it sees and may write of what is open to everybody.
inside sh -c 'mkdir -m 1777 /srv/open; cd /home; echo open | tee seen /tmp/seen >/var/tmp/seen'
as trireme-mr touch /srv/open/theirs
as trireme mr run --quiet --mapper 'cat >/dev/null; echo "$(id -un) ${NOTIFY_SOCKET:-deaf} ${WATCHDOG_PID:-unwatched}"
    (cd /home && cat seen); cat /tmp/seen /var/tmp/seen; touch /srv/open/mine && echo wrote; touch /tmp/mine && echo tmp' --reducer 'sort -u' \
    -i /in -o /who
is 'tmp trireme-mr deaf unwatched' echo $(as trireme dfs cat '/who/part-*')

say "a job goes on when its only worker is stopped and started again, which is clean"
as trireme mr run --quiet --mapper 'touch /tmp/begun; sleep 3; cat' --reducer 'wc -l' -i /in -o /slow &
job=$!
worker=$(of mrworker MainPID)
wait_until 60 inside test -e "/proc/$worker/root/tmp/begun"
inside systemctl stop trireme-mrworker
is 'inactive success 0' echo "$(of mrworker ActiveState) $(of mrworker Result) $(of mrworker ExecMainStatus)"
inside systemctl start trireme-mrworker
wait $job
is 20000 echo $(as trireme dfs cat '/slow/part-*')

say "the journal has every line with its level"
check_journal()
{
    inside journalctl --no-pager -o json -u "trireme-$1" | /usr/bin/python3 -c '
import json, re, sys
numbers = {"error": "3", "warning": "4", "info": "6", "debug": "7"}
seen = 0
for line in sys.stdin:
    entry = json.loads(line)
    if entry["SYSLOG_IDENTIFIER"] == sys.argv[1]:
        level = re.match(r"\d{4}-\d\d-\d\dT[\d:.]+Z (\w+) [a-z.]+: ", entry["MESSAGE"])
        assert level and numbers[level[1]] == entry["PRIORITY"], entry
        seen += 1
assert seen > 0' "$1"
}
for daemon in $daemons; do
    check_journal $daemon
done
inside journalctl --no-pager -p warning -u trireme-chunkserver | grep 'file master does not answer' >/dev/null ||
    fail "journalctl -p warning does not show a warning"

# comes_back DAEMON RESTARTS: systemd has started it so many times by itself, and it serves.
comes_back()
{
    [ "$(of "$1" NRestarts)" = "$2" ] && status_is "$1" 'active serving at *'
}

say "kill -9: each comes back"
for daemon in $daemons; do
    inside systemctl kill -s KILL --kill-who=main trireme-$daemon
    wait_until 60 comes_back $daemon 1
done
as trireme dfs cat /big | cmp - big

say "a stopped daemon is ended by the watchdog, and comes back; the others are not"
for daemon in $daemons; do
    inside mkdir -p /run/systemd/system/trireme-$daemon.service.d
    printf '[Service]\nWatchdogSec=3s\n' | inside sh -c "cat >/run/systemd/system/trireme-$daemon.service.d/quick.conf"
done
inside systemctl daemon-reload
for daemon in $daemons; do
    inside systemctl restart trireme-$daemon
    before=$(of $daemon NRestarts)
    inside systemctl kill -s STOP --kill-who=main trireme-$daemon
    wait_until 90 comes_back $daemon $((before + 1))
    inside journalctl --no-pager -u trireme-$daemon | grep 'Watchdog timeout' >/dev/null || fail "$daemon: something else ended it"
done
for daemon in $daemons; do
    is "$(inside journalctl --no-pager -u trireme-$daemon | grep -c 'Watchdog timeout')" echo 1 || fail "$daemon was ended without need"
done

say "a mrworker that cannot start tasks any more ends with status 0 and comes back"
before=$(of mrworker NRestarts)
worker=$(of mrworker MainPID)
spawner=$(inside cat "/proc/$worker/task/$worker/children")
inside sh -c 'kill -KILL "$0"' "${spawner%% *}"
wait_until 60 comes_back mrworker $((before + 1))

say "a failed disk: status 3, and no restart"
as trireme dfs mkdir /before
inside strace -f -o /dev/null -p "$(of fsmaster MainPID)" -e trace=fdatasync -e inject=fdatasync:error=EIO 2>strace.log &
strace=$!
wait_until 30 grep -q attached strace.log
as trireme dfs mkdir --timeout 1s /lost 2>/dev/null && fail "the file master does not use its disk"
wait_until 60 is failed of fsmaster ActiveState
wait $strace || true
is 'failed 3 exit-code' echo "$(of fsmaster SubState) $(of fsmaster ExecMainStatus) $(of fsmaster Result)"
inside systemctl start trireme-fsmaster
as trireme dfs ls -d /before >/dev/null
as trireme dfs cat /big | cmp - big

say "a mistake in the settings: status 2, and no restart"
inside cp /etc/trireme/trireme.conf /var/tmp/
inside sh -c 'echo "[all]\nnonsense = true" >>/etc/trireme/trireme.conf'
! inside systemctl restart trireme-chunkserver 2>/dev/null || fail "a chunkserver takes nonsense"
is 'failed 2 exit-code' echo "$(of chunkserver SubState) $(of chunkserver ExecMainStatus) $(of chunkserver Result)"
inside cp /var/tmp/trireme.conf /etc/trireme/

say "an upgrade starts anew what runs"
inside systemctl start trireme-mrworker trireme-mrmaster trireme-chunkserver
inside systemctl stop trireme-mrmaster
was=$(of chunkserver MainPID)
install_package
is_another()
{
    [ "$(of "$1" MainPID)" != "$2" ] && status_is "$1" 'active serving at *'
}
wait_until 60 is_another chunkserver "$was"
wait_until 60 comes_back fsmaster "$(of fsmaster NRestarts)"
is inactive of mrmaster ActiveState
inside systemctl start trireme-mrmaster
wait_until 60 status_is mrworker 'active serving at *'

say "stop: what is in progress is finished, and the end is clean"
for daemon in mrworker mrmaster chunkserver fsmaster; do
    inside systemctl stop trireme-$daemon
    is 'inactive dead success 0' echo "$(of $daemon ActiveState) $(of $daemon SubState) $(of $daemon Result) $(of $daemon ExecMainStatus)"
done
inside systemctl start trireme-fsmaster trireme-chunkserver
as trireme dfs cat /big | cmp - big

say "removal and purge"
inside dpkg -r trireme >dpkg.log 2>&1 || fail "$(cat dpkg.log)"
for daemon in $daemons; do
    ! inside systemctl is-active --quiet trireme-$daemon || fail "trireme-$daemon still runs"
    ! inside test -e /etc/systemd/system/multi-user.target.wants/trireme-$daemon.service || fail "trireme-$daemon is still enabled"
done
inside test -e /etc/trireme/trireme.conf || fail "removing took the settings"
inside dpkg -P trireme >dpkg.log 2>&1 || fail "$(cat dpkg.log)"
! inside test -e /etc/trireme || fail "purging left the settings"
inside test -d /var/lib/trireme/chunkserver/chunks || fail "purging took data"
machine_down
say "done"
