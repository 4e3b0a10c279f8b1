#!/bin/bash
# Runs a command that sees FOLDER through a filesystem which remembers for SECONDS what it found, and what it did not
# find, as NFS clients do; others see the folder as it is. Needs a mount namespace of its own.
# usage: late_login.sh SECONDS FOLDER COMMAND [ARGUMENT...]
set -eu
seconds=$1 folder=$2
shift 2
# Sizes and times are refreshed after 3 s, NFS's least.
attributes=$((seconds < 3 ? seconds : 3))
bindfs -f -o "allow_other,entry_timeout=$seconds,negative_timeout=$seconds,attr_timeout=$attributes" "$folder" "$folder" &
for _ in {1..100}; do
    mountpoint -q "$folder" && exec "$@"
    sleep 0.05
done
echo "late_login.sh: no filesystem on $folder" >&2
kill $!
exit 1
