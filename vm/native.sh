#!/bin/sh
# First process of a native lab, in mount, network and process namespaces of its own: what it mounts,
# starts and links goes with them. $1 is the run's folder with the job in it; it and the other folders
# named stay in sight when /run becomes the lab's own.
set -e
run=$1
mount -t tmpfs tmpfs /mnt
mkdir /mnt/run
mount --rbind /run /mnt/run
mount -t tmpfs -o mode=755 run /run
for folder in "$@"; do
    case $folder in
    /run/*)
        mkdir -p "$folder"
        mount --rbind "/mnt$folder" "$folder"
        ;;
    esac
done
umount -l /mnt
mount -t sysfs sys /sys
ip link set lo up
set +e
# Stays the first process of the namespace, so that the job gets signals like any other program.
/bin/sh "$run/job"
exit $?
