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
command -v debootstrap >/dev/null || apt-get install -y -qq --no-install-recommends debootstrap >/dev/null

case $release in
    jammy | noble | plucky | questing | resolute) mirror=http://archive.ubuntu.com/ubuntu components=main,universe ;;
    *) mirror=http://deb.debian.org/debian components=main ;;
esac
[ -e "/usr/share/debootstrap/scripts/$release" ] || script=/usr/share/debootstrap/scripts/gutsy
keys=()
[ "$components" = main ] || [ -e /usr/share/keyrings/ubuntu-archive-keyring.gpg ] || keys=(--no-check-gpg)

work=$(mktemp -d /var/tmp/dagster-slurm-fresh.XXXXXX)
trap 'rm -rf --one-file-system "$work"' EXIT
root=$work/root

echo "fresh_machine: $release in $root"
debootstrap "${keys[@]}" --variant=minbase --components="$components" --include=git,make,python3,ca-certificates \
    "$release" "$root" "$mirror" ${script:+"$script"} >"$work/debootstrap.log" 2>&1 ||
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
        mount -t proc proc "$root/proc"
        for device in null zero full random urandom tty; do
            [ -e "$root/dev/$device" ] || touch "$root/dev/$device"
            mount --bind "/dev/$device" "$root/dev/$device"
        done
        mkdir -p "$root/dev/shm" && mount -t tmpfs -o mode=1777 tmpfs "$root/dev/shm"
        exec chroot --userspec="$user" "$root" \
            /usr/bin/env -i HOME="$home" PATH=/usr/bin:/bin CI=true /bin/sh -c "$*" </dev/null
    ' as "$root" "$user" "$home" "$@"
}

for user in ${USERS:-guest root}; do
    home=/home/guest
    [ "$user" = root ] && home=/root
    for target in "${targets[@]}"; do
        echo "fresh_machine: $release, $user: make $target"
        begun=$SECONDS
        as "$user" "$home" "cd && { [ -d clone ] || git clone --quiet -c advice.detachedHead=false /repository.bundle clone; } && cd clone && make $target"
        echo "fresh_machine: $release, $user: make $target took $((SECONDS - begun)) s"
    done
done
