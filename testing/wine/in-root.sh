#!/bin/sh
# in-root.sh ROOT PROJECT PROGRAM ARGS...
#
# Runs a program of another Debian, which is extracted into ROOT. The program sees this machine's processes,
# devices and temporary files, and the project. Call it in a mount namespace of its own (unshare --mount), which
# ends with it.
set -e
root=$1 project=$2
shift 2
for folder in proc dev sys tmp; do
    mount --rbind "/$folder" "$root/$folder"
done
if [ ! -d "$root$project" ] || [ -z "$(ls -A "$root$project")" ]; then
    mkdir -p "$root$project"
    mount --bind "$project" "$root$project"
fi
# chroot starts in the root.
exec chroot "$root" sh -c 'cd "$0" && exec "$@"' "$PWD" "$@"
