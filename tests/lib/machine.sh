# For tests that need a real systemd, after tests/lib/cluster.sh: a machine in namespaces whose PID 1 it is.
#
#     machine_up                 or the test is skipped, with the reason
#     inside COMMAND...          runs it there as root
#     as USER COMMAND...         and as somebody else
#     machine_down               also when the test ends in any other way
# shellcheck shell=bash

machine=''  # PID of its PID 1, outside
machine_cgroup=''
machine_keeper=''

machine_up()
{
    local base=/sys/fs/cgroup
    [ "$(id -u)" = 0 ] || skip "not root: a machine with a systemd of its own needs namespaces"
    for tool in unshare nsenter ip pivot_root dpkg adduser; do
        command -v $tool >/dev/null || skip "$tool is not installed"
    done
    [ -x /lib/systemd/systemd ] || skip "systemd is not installed"
    [ ! -d $base/unified ] || base=$base/unified # beside controllers of version 1
    [ "$(stat -f -c %T $base)" = cgroup2fs ] || skip "no cgroup2: systemd cannot follow processes"
    machine_cgroup=$base/trireme-test.$$
    mkdir "$machine_cgroup" 2>/dev/null || skip "no cgroup can be made in $base"
    mkdir "$T/machine"
    (
        echo "$BASHPID" >"$machine_cgroup/cgroup.procs"
        exec unshare --mount --pid --net --ipc --uts --cgroup --fork --kill-child "$TRIREME_SOURCE/tests/lib/machine" "$T/machine"
    ) >"$T/machine.log" 2>&1 </dev/null &
    machine_keeper=$!
    trap machine_finish EXIT
    local end=$((SECONDS + 60))
    until machine_is_booted; do
        kill -0 $machine_keeper 2>/dev/null || skip "no machine can be made here: $(tail -n 1 "$T/machine.log")"
        [ $SECONDS -lt $end ] || fail "systemd does not come up: $(cat "$T/machine.log")"
        sleep 0.1
    done
}

machine_is_booted()
{
    local children
    children=$(cat /proc/$machine_keeper/task/$machine_keeper/children 2>/dev/null) || return 1
    machine=${children%% *}
    [ -n "$machine" ] && [ "$(cat "/proc/$machine/comm" 2>/dev/null)" = systemd ] &&
        inside systemctl is-active --quiet basic.target 2>/dev/null
}

inside()
{
    nsenter --target "$machine" --mount --uts --ipc --net --pid --cgroup --wd \
        env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 "$@"
}

as()
{
    inside runuser -u "$1" -- "${@:2}"
}

machine_down()
{
    if [ -n "$machine_keeper" ]; then
        kill -KILL $machine_keeper 2>/dev/null || true # its child goes with it, and that is PID 1 of all others
        wait $machine_keeper 2>/dev/null || true
        machine_keeper=''
    fi
    if [ -n "$machine_cgroup" ]; then
        local end=$((SECONDS + 30))
        while [ -d "$machine_cgroup" ] && [ $SECONDS -lt $end ]; do # busy until the last process has been buried
            find "$machine_cgroup" -depth -type d -exec rmdir {} \; 2>/dev/null || sleep 0.05
        done
        machine_cgroup=''
    fi
}

machine_finish()
{
    local status=$?
    trap - ERR
    set +e
    if [ $status != 0 ] && [ $status != 77 ] && [ -n "$machine" ]; then
        inside journalctl --no-pager -n 80 >&2
    fi
    machine_down
    (exit $status)
    cluster_finish
}
