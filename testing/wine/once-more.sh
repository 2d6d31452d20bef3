#!/bin/sh
# Runs a program under Wine: `once-more.sh wine PROGRAM ARGUMENTS...`. Once in some thousand runs Wine itself fails
# before the program has begun, and says so. Then the program is started once more.
#
# The errors go to a file, since Wine's services outlive the program and would keep a pipe open. It has no name any
# more while the program runs, so that nothing is left behind if both are killed.
file=$(mktemp) || exit
exec 3>"$file" 4<"$file"
rm "$file"
"$@" 2>&3 3>&- 4<&-
status=$?
errors=$(cat <&4)
[ -z "$errors" ] || printf '%s\n' "$errors" >&2
if [ "$status" -ne 0 ] && printf '%s\n' "$errors" | grep -q '^wine client error:'; then
    echo "it did not start ($status): once more" >&2
    "$@" 3>&- 4<&-
    status=$?
fi
exit "$status"
