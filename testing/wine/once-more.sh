#!/bin/sh
# Runs a program under Wine: `once-more.sh wine PROGRAM ARGUMENTS...`. Once in some thousand runs Wine itself fails
# before the program has begun, and says so. Then the program is started once more.
errors=$(mktemp) || exit
trap 'rm -f "$errors"' EXIT
"$@" 2>"$errors"
status=$?
cat "$errors" >&2
if [ "$status" -ne 0 ] && grep -q '^wine client error:' "$errors"; then
    echo "it did not start ($status): once more" >&2
    "$@"
    status=$?
fi
exit "$status"
