#!/bin/bash
# tools/fresh_machine.sh [RELEASE [TARGET...]]: the set-up on a fresh machine, as a newcomer meets it.
#
# RELEASE is one of Debian's or Ubuntu's (default: bookworm), TARGET what to make there (default: check demo). A minimal
# system with git, make, python3 and ca-certificates is made in a folder of its own; in it a user without rights, then root,
# clone the last commit and make the targets with an empty environment. Needs root and debootstrap; leaves nothing behind.
# USERS=root leaves the user without rights out, who may not bring up a cluster.
set -euo pipefail
cd "$(dirname "$0")/.."
release=${1:-bookworm}
[ $# -gt 0 ] && shift
targets=("${@:-check}")
[ $# -eq 0 ] && targets=(check demo)

if [ "$(id -u)" -ne 0 ]; then
    echo "fresh_machine: needs root, for debootstrap and chroot" >&2
    exit 1
fi
need() { # package, file of it
    [ -e "$2" ] || { apt-get -qq update && apt-get install -y -qq --no-install-recommends "$1"; } >/dev/null
}

need debootstrap /usr/sbin/debootstrap
scripts=/usr/share/debootstrap/scripts
if [ -e "$scripts/$release" ] && ! grep -q ubuntu "$scripts/$release"; then
    from=(--components=main "$release") mirror=http://deb.debian.org/debian script=$scripts/$release
else
    # Debian has no package of Ubuntu's keys; on a host without them the packages are not verified
    keys=/usr/share/keyrings/ubuntu-archive-keyring.gpg
    [ -e "$keys" ] && check=--keyring=$keys || check=--no-check-gpg
    from=("$check" --components="main,universe" "$release")
    mirror=http://archive.ubuntu.com/ubuntu script=$scripts/gutsy # which all of Ubuntu's releases share
fi

work=$(mktemp -d /var/tmp/dagster-slurm-fresh.XXXXXX)
trap 'rm -rf --one-file-system "$work"' EXIT
root=$work/root

echo "fresh_machine: $release in $root"
debootstrap --variant=minbase --include=git,make,python3,ca-certificates "${from[@]}" \
    "$root" "$mirror" "$script" >"$work/debootstrap.log" 2>&1 ||
    { tail -n 20 "$work/debootstrap.log" >&2; exit 1; }
rm -rf "$root"/var/lib/apt/lists/* # as in an image: no package lists

# the network as here: names, and whom to trust
cp -L /etc/resolv.conf /etc/hosts "$root/etc/"
cp -L /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/ca-certificates.crt"
git bundle create --quiet "$root/repository.bundle" HEAD
chmod 644 "$root/repository.bundle"
chroot "$root" useradd --create-home guest

# as USER: in namespaces of its own, so that every process and mount ends with it
as() {
    local user=$1 home=$2
    shift 2
    # shellcheck disable=SC2016  # the inner shell expands it
    unshare --mount --pid --fork --kill-child bash -c '
        root=$1 user=$2 home=$3
        shift 3
        mount --bind "$root" "$root" # a root of its own, as programs that make namespaces expect
        mount -t proc proc "$root/proc"
        mount --rbind /sys "$root/sys" # processors and cgroups
        for device in null zero full random urandom tty fuse; do
            [ -e "/dev/$device" ] || continue
            [ -e "$root/dev/$device" ] || touch "$root/dev/$device"
            mount --bind "/dev/$device" "$root/dev/$device"
        done
        mkdir -p "$root/dev/shm" && mount -t tmpfs -o mode=1777 tmpfs "$root/dev/shm"
        mkdir -p "$root/dev/pts" && mount -t devpts -o newinstance,ptmxmode=0666,mode=0620 devpts "$root/dev/pts"
        ln -sf pts/ptmx "$root/dev/ptmx"
        ln -sf /proc/self/fd "$root/dev/fd"
        exec chroot --userspec="$user" "$root" \
            /usr/bin/env -i HOME="$home" PATH=/usr/bin:/bin CI=true /bin/sh -c "$*" </dev/null
    ' as "$root" "$user" "$home" "$@"
}

for user in ${USERS:-guest root}; do
    home=/home/guest
    [ "$user" = root ] && home=/root
    echo "fresh_machine: $release, $user: make ${targets[*]}"
    begun=$SECONDS
    as "$user" "$home" "cd && git clone --quiet -c advice.detachedHead=false /repository.bundle clone && cd clone && make ${targets[*]}"
    echo "fresh_machine: $release, $user: took $((SECONDS - begun)) s"
done
