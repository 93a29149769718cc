#!/bin/bash
# Keeps a real `systemd --user` running, on a machine whose PID 1 may be anything, until the standard input ends.
#   unshare --mount bash user_systemd.sh FOLDER
# FOLDER gets home/, and run/ which is the XDG_RUNTIME_DIR to talk to it with. Prints "ready" once it answers.
# Needs root, and Debian's systemd and dbus-user-session.
set -euo pipefail
folder=$1
mkdir -p "$folder/home" "$folder/run"
chmod 700 "$folder/run"

# systemd refuses to work where it seems not to be the init system; only this mount namespace sees these folders.
mount --make-rprivate /
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p /run/systemd/system /run/systemd/journal /run/lock /run/user

export HOME=$folder/home XDG_RUNTIME_DIR=$folder/run DBUS_SESSION_BUS_ADDRESS=unix:path=$folder/run/bus
unset XDG_CONFIG_HOME XDG_DATA_HOME NOTIFY_SOCKET
/lib/systemd/systemd --user --log-target=console --log-level=info </dev/null >"$folder/systemd.log" 2>&1 &
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
