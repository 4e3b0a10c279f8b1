#!/bin/sh
# For pam_exec: succeeds if the code on stdin is a file in CODES_FOLDER, which it removes: a second login needs another.
# usage: one_time_code.sh CODES_FOLDER
code=$(tr -dc '[:alnum:]')
[ -n "$code" ] && exec rm "$1/$code"
