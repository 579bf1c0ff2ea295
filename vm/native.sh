#!/bin/sh
# First process of a native lab, in mount, network and process namespaces of its own: what it mounts,
# starts and links goes with them. $1 is the job.
mount -t tmpfs -o mode=755 run /run &&
    mount -t sysfs sys /sys &&
    ip link set lo up || exit 1
# Stays the first process of the namespace, so that the job gets signals like any other program.
/bin/sh "$1"
exit $?
