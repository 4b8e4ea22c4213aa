#!/usr/bin/env bash
# Starts a Slurm of one machine: munged, slurmctld and a slurmd for each node, with all state in DIR. Root only.
set -euo pipefail

[ $# -ge 3 ] || { echo "usage: up.sh DIR PORT_CONTROLLER PORT_NODE.." >&2; exit 2; }
dir=$1 controller=$2
shift 2
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
host=$(hostname -s)
chmod 755 "$dir"
mkdir -p "$dir/state"

nodes= names=
number=0
for port in "$@"; do
    number=$((number + 1))
    mkdir -p "$dir/spool-n$number" "$dir/tmp-n$number"
    names=$names${names:+,}n$number
    nodes+="NodeName=n$number NodeHostname=$host NodeAddr=127.0.0.1 Port=$port CPUs=2 RealMemory=4000 State=UNKNOWN\\n"
done
sed "s#@DIR@#$dir#g; s#@HOST@#$host#g; s#@PORT_CONTROLLER@#$controller#; s#@NODES@#$nodes#; s#@NAMES@#$names#" \
    "$here/slurm.conf.in" >"$dir/slurm.conf"

head -c 1024 /dev/urandom >"$dir/munge.key"
chmod 400 "$dir/munge.key"
munged --force --num-threads=2 --key-file="$dir/munge.key" --socket="$dir/munge.socket" \
    --pid-file="$dir/munged.pid" --log-file="$dir/munged.log" --seed-file="$dir/munged.seed" 2>"$dir/munged.err"
export SLURM_CONF=$dir/slurm.conf
slurmctld
for node in ${names//,/ }; do slurmd -N "$node"; done
for _ in $(seq 200); do
    [ "$(sinfo --noheader --Node --partition=batch --states=idle --format=%N 2>/dev/null | wc -l)" = "$number" ] && exit 0
    sleep 0.1
done
echo "Slurm's nodes did not come up: see $dir" >&2
exit 1
