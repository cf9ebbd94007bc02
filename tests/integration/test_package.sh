#!/bin/bash
# The Debian packages: what is in them and what they need; dpkg installs, upgrades, removes and purges them in a root of their
# own; the installed programs are a cluster, under what the units forbid; a program is built against libdfs. The units
# themselves, as far as systemd-analyze can judge.
. "$(dirname "$0")/../lib/cluster.sh"
cd "$T"
for tool in cpack dpkg-deb dpkg-shlibdeps file cc pkg-config; do
    command -v $tool >/dev/null || skip "$tool is not installed"
done
root=$T/root
bin=$root/usr/bin
units=$root/usr/lib/systemd/system
daemons='fsmaster chunkserver mrmaster mrworker'

say "both packages"
cpack --config "$TRIREME_BUILD/CPackConfig.cmake" -B "$T/made" >cpack.log 2>&1 || fail "$(cat cpack.log)"
main=$(echo made/trireme_*.deb)
dev=$(echo made/trireme-dev_*.deb)
library=$(dpkg-architecture -qDEB_HOST_MULTIARCH)

# field NAME [PACKAGE]: of the control file.
field()
{
    dpkg-deb -f "${2:-$main}" "$1"
}

version=$("$TRIREME_BUILD/bin/dfs" --version | sed 's/.* //')
[ "$(field Version)" = "$version" ] || fail "version $(field Version), the programs say $version"
for needed in adduser libc6 libgrpc librocksdb libprotobuf-c1 libmicrohttpd; do
    field Depends | grep "\b$needed" >/dev/null || fail "Depends misses $needed: $(field Depends)"
done
field Conflicts | grep -w mr >/dev/null || fail "mr is not in conflict: both have /usr/bin/mr"
field Depends "$dev" | grep -F "trireme (= $version)" >/dev/null || fail "trireme-dev goes with any trireme"
dpkg-deb -c "$main" >contents
dpkg-deb -c "$dev" >>contents
while read -r path; do
    grep -q " \./$path\( ->.*\)\?$" contents || fail "the packages have no $path"
done <<END
etc/trireme/trireme.conf
usr/bin/dfs
usr/bin/mr
usr/bin/mrtask
usr/include/trireme/dfs.h
usr/include/trireme/mapreduce.h
usr/lib/systemd/system/trireme-fsmaster.service
usr/lib/$library/libdfs.so
usr/lib/$library/libdfs.so.0
usr/lib/$library/trireme/hadoop/hdfs
usr/lib/$library/trireme/wordcount.so
usr/share/bash-completion/completions/dfs
usr/share/doc/trireme/copyright
usr/share/doc/trireme/docs/operations.md
usr/share/doc/trireme/examples/streaming/wordcount_map
usr/share/man/man1/dfs-put.1
usr/share/man/man1/mr-run.1
usr/share/man/man1/mrworker.1
END
awk '$2 != "root/root" || $1 !~ /^l/ && $1 ~ /^.....w|w.$/' contents >odd
[ ! -s odd ] || fail "not root's alone: $(cat odd)"

say "dpkg installs, upgrades, removes and purges, in $root; nothing is started, and no data removed"
# Maintainer scripts run here, with these instead of the real ones; $root seems to be run by systemd.
mkdir -p "$root/var/lib/dpkg" "$root/run/systemd/system" stubs
: >"$root/var/lib/dpkg/status"
for stub in adduser systemctl getent; do
    printf '#!/bin/sh\necho "%s $*" >>%q\n[ %s != getent ]\n' $stub "$T/calls" $stub >stubs/$stub
done
chmod +x stubs/*
as_root=()
[ "$(id -u)" = 0 ] || as_root=(fakeroot)
[ ${#as_root[@]} = 0 ] || command -v fakeroot >/dev/null || skip "neither root nor fakeroot: the rest needs dpkg"

# package OPTION...: dpkg on $root; its scripts' calls are in $T/calls.
package()
{
    : >"$T/calls"
    PATH=$T/stubs:$PATH:/usr/sbin:/sbin "${as_root[@]}" dpkg --root="$root" --log=/dev/null --force-not-root --force-depends \
        --force-script-chrootless --force-unsafe-io "$@" >"$T/dpkg.log" 2>&1 || fail "$(cat "$T/dpkg.log")"
}

package -i "$main" "$dev"
grep -q '^adduser --system .* trireme$' calls || fail "no user trireme: $(cat calls)"
grep -q '^adduser --system .* trireme-mr$' calls || fail "no user trireme-mr: $(cat calls)"
! grep -E 'systemctl.* (start|restart|try-restart|enable)' calls || fail "the installation starts something"
echo '# mine' >>"$root/etc/trireme/trireme.conf"
package -i "$main"
grep -qx 'systemctl --system --no-block try-restart trireme-fsmaster.*' calls || fail "no restart: $(cat calls)"
tail -n 1 "$root/etc/trireme/trireme.conf" | grep -x '# mine' >/dev/null || fail "the upgrade changed the settings"

! grep -rlF "$TRIREME_SOURCE" "$root/usr" || fail "files name the place where they were built"

say "the settings, the units and the man pages belong together"
for daemon in $daemons; do
    unit=$units/trireme-$daemon.service
    state=$(sed -n 's/^StateDirectory=//p' "$unit")
    data=$(sed -n "/^\[$daemon\]/,/^\[/s/^data = //p" "$root/etc/trireme/trireme.conf")
    [ "$data" = "/var/lib/$state" ] || fail "$daemon: data is $data, StateDirectory $state"
    [ -x "$root$(sed -n 's/^ExecStart=\([^ ]*\) .*/\1/p' "$unit")" ] || fail "$unit: no such program"
done
if command -v systemd-analyze >/dev/null; then
    mkdir verified
    for daemon in $daemons; do
        sed "s|=/usr/bin/|=$bin/|" "$units/trireme-$daemon.service" >"verified/trireme-$daemon.service"
    done
    systemd-analyze verify --man=no verified/*.service 2>&1 | tee verify.log
    [ ! -s verify.log ] || fail "systemd-analyze verify"
    systemd-analyze --no-pager security --offline=yes --threshold=20 verified/*.service >security.log ||
        fail "$(grep -E '✗|Overall' security.log)"
else
    say "not checked: the units (no systemd-analyze)"
fi
if man -l "$root/usr/share/man/man1/dfs-put.1" >man.log 2>/dev/null && [ -s man.log ]; then
    grep -q -e --replication man.log || fail "dfs-put(1) does not speak of --replication"
else
    say "not checked: that man shows the pages (no man)"
fi

say "the programs of the package are a cluster, under the units' filters"
filtered=no
mkdir -p run/bin
for program in "$bin"/*; do
    ln -s "$program" run/bin/
done
if "$TRIREME_SOURCE/tests/lib/under_unit" --check; then
    filtered=yes
    for daemon in $daemons; do
        rm run/bin/$daemon
        printf '#!/bin/sh\nexec %q %q %q "$@"\n' "$TRIREME_SOURCE/tests/lib/under_unit" \
            "$units/trireme-$daemon.service" "$bin/$daemon" >run/bin/$daemon
        chmod +x run/bin/$daemon
    done
else
    say "not checked: the units' filters (no systemd-analyze or libseccomp)"
fi
export LD_LIBRARY_PATH=$root/usr/lib/$library
PATH=$bin:$PATH
hash -r
[ "$(command -v dfs)" = "$bin/dfs" ] || fail "dfs is $(command -v dfs)"
[ "$(dfs --version)" = "dfs (Trireme) $version" ] || fail "dfs --version: $(dfs --version)"
mr --help | grep '^Usage: mr ' >/dev/null
"$root/usr/lib/$library/trireme/hadoop/hdfs" version | grep Trireme >/dev/null || fail "hdfs"
bash -c '. "$1" && complete -p dfs' bash "$root/usr/share/bash-completion/completions/dfs" >/dev/null
mkdir "$CLUSTER"
cp "$root/etc/trireme/trireme.conf" "$CLUSTER" # as it is shipped; what devcluster says goes before it
sed -i "s|^local-socket = .*|local-socket = $T/local.sock|" "$CLUSTER/trireme.conf"
TRIREME_BUILD=$T/run cluster_up --masters 1 --chunkservers 1 --workers 1 --fsmaster-arg=--single \
    --fsmaster-arg=--http=127.0.0.1:0 --chunkserver-arg=--http=127.0.0.1:0 \
    --mrmaster-arg=--http=127.0.0.1:0 --mrworker-arg=--http=127.0.0.1:0
for daemon in $daemons; do
    http=$(sed -n 's/.*metrics port=\([0-9]*\).*/\1/p' "$CLUSTER/${daemon}1/log" | head -n 1)
    /usr/bin/python3 -c 'import sys, urllib.request as u; print(u.urlopen(sys.argv[1]).read().decode())' \
        "http://127.0.0.1:$http/healthz" | grep -x ok >/dev/null || fail "/healthz of $daemon"
done
for daemon in $daemons; do
    process=/proc/$(cluster_field ${daemon}1 pid)
    [ "$(readlink "$process/exe")" = "$(readlink -f "$bin/$daemon")" ] || fail "another $daemon runs"
    [ $filtered = no ] || grep '^Seccomp:.2$' "$process/status" >/dev/null || fail "$daemon runs without a filter"
done
seq 1 20000 >in
dfs mkdir -p /in
sed "s|^masters = .*|masters = $DFS_MASTER|; s|^mrmaster = .*|mrmaster = $MR_MASTER|" "$root/etc/trireme/trireme.conf" >shared.conf
for command in 'dfs ls /' 'mr workers'; do # commands know the cluster from the settings of the daemons
    # shellcheck disable=SC2086
    env -u DFS_MASTER -u MR_MASTER TRIREME_CONFIG=shared.conf $command >/dev/null || fail "$command without its variables"
done
dfs put in /in/numbers
same_in_store in /in/numbers
mr run --quiet --lib "$root/usr/lib/$library/trireme/wordcount.so" -i /in -o /counted
[ "$(dfs cat '/counted/part-*' | wc -l)" = 20000 ] || fail "words are missing"
mr run --quiet --mapper 'sort | uniq' --reducer 'python3 -c "import sys; print(sum(map(int, sys.stdin)))"' -i /in -o /sum
[ "$(dfs cat '/sum/part-*' | tr -d '\t')" = 200010000 ] || fail "the sum: $(dfs cat '/sum/part-*')"

say "a program of somebody else's"
cat >sizes.c <<'END'
#include <inttypes.h>
#include <stdio.h>
#include <trireme/dfs.h>

int main(int argc, char **argv)
{
    struct dfs_options options = {0};
    struct dfs_err e = {0};
    struct dfs_stat stat;
    struct dfs *dfs = NULL;
    if (argc != 2 || dfs_connect(&options, &dfs, &e) < 0 || dfs_stat(dfs, argv[1], &stat, &e) < 0) {
        return 1;
    }
    (void)printf("%" PRIu64 "\n", (uint64_t)stat.length);
    dfs_disconnect(dfs);
    return 0;
}
END
export PKG_CONFIG_LIBDIR=$root/usr/lib/$library/pkgconfig
read -ra flags < <(pkg-config --cflags --libs libdfs)
cc -Wall -Werror -o sizes sizes.c "${flags[@]}"
[ "$(./sizes /in/numbers)" = "$(stat -c %s in)" ] || fail "sizes: $(./sizes /in/numbers)"
cluster_down

say "gone again"
mkdir -p "$root/var/lib/trireme/chunkserver"
: >"$root/var/lib/trireme/chunkserver/bytes"
package -r trireme-dev trireme
[ "$(grep -c 'systemctl --system stop' calls)" = 4 ] || fail "not all daemons are ended: $(cat calls)"
[ -e "$root/etc/trireme/trireme.conf" ] || fail "removing took the settings"
package -P trireme
[ ! -e "$root/etc/trireme" ] || fail "purging left the settings"
[ -e "$root/var/lib/trireme/chunkserver/bytes" ] || fail "purging took data"
[ ! -e "$root/usr" ] || fail "left: $(find "$root/usr")"
say "done"
