#!/bin/sh
# First process of the lab VM (init=): a private, writable copy of the host's file system, then the job.
#
# LAB_RUN (from the kernel's command line) is the run's folder on the host. It holds `fstab`, what to
# mount, and `job`, what to run; its `exit` gets the job's exit code. Processes are dear in user-mode
# Linux (25 ms each), so all mounts are one command.
export PATH=/usr/sbin:/usr/bin:/sbin:/bin

if [ "$1" != inside ]; then
    mount -t proc proc /proc
    mount -t tmpfs tmpfs /mnt
    mkdir /mnt/upper /mnt/work /mnt/root
    mount -t overlay -o lowerdir=/,upperdir=/mnt/upper,workdir=/mnt/work overlay /mnt/root
    # Not chroot: who enters a host's mount namespace by setns, as Mininet does, would leave it.
    cd /mnt/root && pivot_root . mnt && exec chroot . /bin/sh "$0" inside
fi
umount -l /mnt

mount -t proc proc /proc
mount -a -T "$LAB_RUN/fstab" || exit 1
echo lab > /proc/sys/kernel/hostname
ip link set lo up
# This kernel's scheduler counts in ticks of 10 ms: what runs at a tick pays for all of it, and would then
# wait behind programs that watch, a kernel thread with news of a link, too (docs/adr/0027). Nobody is owed
# anything, and what has to run first does so at any time.
echo NO_PLACE_LAG > /sys/kernel/debug/sched/features
echo NO_DELAY_DEQUEUE > /sys/kernel/debug/sched/features
echo 0 > /sys/kernel/debug/sched/fair_server/cpu0/runtime
setsid $LAB_TERMINAL --wait /bin/sh "$LAB_RUN/job" < /dev/tty1 > /dev/tty1 2>&1
echo $? > "$LAB_RUN/exit"
sync
# As `poweroff -f`, which machines without systemd do not have.
echo o > /proc/sysrq-trigger
sleep 60
