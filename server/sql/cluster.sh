#!/bin/sh
# Starts a scheduler and executors on this machine, and stops them together on Ctrl-C:
#
#   server/sql/cluster.sh MODEL [EXECUTORS]
#
# Then: lexivec sql --model MODEL --scheduler 127.0.0.1:50050 "SELECT …"
#
# EXECUTORS is 2 if it is left out. They share the cores: each computes with CORES / EXECUTORS threads. LEXIVEC_SQL names the program
# (default: lexivec sql). On several machines, run the two commands that this script runs, with --host and addresses of your network.
set -eu

[ $# -ge 1 ] && [ $# -le 2 ] || { sed -n '2,9s/^# \{0,1\}//p' "$0" >&2; exit 2; }
model=$1
executors=${2:-2}
case $executors in
  0* | *[!0-9]*) echo "$0: EXECUTORS is $executors, and must be a number from 1" >&2; exit 2 ;;
esac
threads=$(($(nproc) / executors))
[ "$threads" -ge 1 ] || threads=1
program=${LEXIVEC_SQL:-lexivec sql}
port=${LEXIVEC_SQL_PORT:-50050}

pids=
trap 'trap - INT TERM EXIT; kill $pids 2>/dev/null; wait' INT TERM EXIT

# The program is two words if it is `lexivec sql`. The port of this script is not that of the executors.
unset LEXIVEC_SQL_PORT
# shellcheck disable=SC2086
$program scheduler --port "$port" &
pids=$!
number=1
while [ "$number" -le "$executors" ]; do
  # shellcheck disable=SC2086
  $program executor --model "$model" --threads "$threads" --scheduler "127.0.0.1:$port" --port $((port + number)) &
  pids="$pids $!"
  number=$((number + 1))
done
wait
