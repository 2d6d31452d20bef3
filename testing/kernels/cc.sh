#!/bin/sh
# The compiler of a guest: gives tests/preloaded.rs the library that was compiled for it outside, by its
# flags.
flag=
while [ "$1" != -o ]; do
    case $1 in -D*) flag=$1 ;; esac
    shift
done
exec cp "/lib/stack$flag.so" "$2"
