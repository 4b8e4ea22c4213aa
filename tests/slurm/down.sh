#!/usr/bin/env bash
# Ends what up.sh started in DIR, and every job of it.
set -u

[ $# = 1 ] || { echo "usage: down.sh DIR" >&2; exit 2; }
dir=$1
export SLURM_CONF=$dir/slurm.conf
timeout 10 scancel --user="$(id -un)" 2>/dev/null
for pid in "$dir"/slurmctld.pid "$dir"/slurmd-*.pid "$dir"/munged.pid; do
    [ -f "$pid" ] && kill "$(cat "$pid")" 2>/dev/null
done
# A daemon removes its file as its last act.
for _ in $(seq 100); do
    ls "$dir"/*.pid >/dev/null 2>&1 || exit 0
    sleep 0.1
done
for pid in "$dir"/*.pid; do kill -9 "$(cat "$pid")" 2>/dev/null; done
exit 0
