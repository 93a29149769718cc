#!/bin/bash
# Keeps a real `systemd --user` running, on a machine whose PID 1 may be anything, until the standard input ends.
#   unshare --mount bash user_systemd.sh FOLDER
# FOLDER gets home/, and run/ which is the XDG_RUNTIME_DIR to talk to it with. Prints "ready" once it answers.
# Needs root, and Debian's systemd and dbus-user-session.
set -euo pipefail
folder=$1
mkdir -p "$folder/home" "$folder/run"
chmod 700 "$folder/run"

# A control group of its own, where that can be had: else systemd takes the processes of the whole machine for its own.
groups=()
for hierarchy in /sys/fs/cgroup/unified /sys/fs/cgroup/systemd /sys/fs/cgroup; do
    group=$hierarchy/claude-syncd-test-$$
    if [ -e "$hierarchy/cgroup.procs" ] && mkdir "$group" 2>/dev/null; then
        groups+=("$group")
        echo $$ >"$group/cgroup.procs"
    fi
done
leave_groups() {
    for group in "${groups[@]}"; do
        echo $$ >"${group%/*}/cgroup.procs" || true
        find "$group" -depth -type d -exec rmdir {} + || true
    done
}
trap leave_groups EXIT

# systemd refuses to work where it seems not to be the init system; only this mount namespace sees these folders.
mount --make-rprivate /
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p /run/systemd/system /run/systemd/journal /run/lock /run/user

export HOME=$folder/home XDG_RUNTIME_DIR=$folder/run DBUS_SESSION_BUS_ADDRESS=unix:path=$folder/run/bus
unset XDG_CONFIG_HOME XDG_DATA_HOME NOTIFY_SOCKET
/lib/systemd/systemd --user </dev/null >"$folder/systemd.log" 2>&1 &
manager=$!
for _ in $(seq 300); do
    if systemctl --user show-environment >/dev/null 2>&1; then
        echo ready
        cat >/dev/null || true
        systemctl --user exit || true
        wait "$manager" || true
        exit 0
    fi
    kill -0 "$manager" 2>/dev/null || break
    sleep 0.1
done
echo "systemd --user does not answer:" >&2
cat "$folder/systemd.log" >&2
exit 1
