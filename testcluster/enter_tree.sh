#!/bin/sh
# Runs a command inside another Debian's tree, together with a cluster's folder at its usual path. Needs a mount
# namespace of its own, with which all these mounts end.
# usage: enter_tree.sh TREE STATE_FOLDER COMMAND [ARGUMENT...]
set -eu
tree=$1 state=$2
shift 2
mount -t proc proc "$tree/proc"
mount -t devpts -o newinstance,ptmxmode=0666 devpts "$tree/dev/pts"
mount -t tmpfs -o mode=1777 tmpfs "$tree/dev/shm"
mount --rbind /sys/fs/cgroup "$tree/sys/fs/cgroup"
[ -e "$tree/dev/fuse" ] || mknod -m 666 "$tree/dev/fuse" c 10 229
mkdir -p "$tree$state"
mount --bind "$state" "$tree$state"
mount --bind "$state/tmp" "$tree/tmp"
for file in passwd group shadow hosts resolv.conf; do
    mount --bind "$(readlink -f "/etc/$file")" "$tree/etc/$file"
done
exec chroot "$tree" "$@"
