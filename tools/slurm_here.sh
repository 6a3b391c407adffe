#!/usr/bin/env bash
# A real SLURM of one controller and two nodes, all on this machine, for tests and to try things out.
#
#   tools/slurm_here.sh install         Debian's packages, as root
#   tools/slurm_here.sh start FOLDER    start it with all its files in FOLDER; prints the line that tells clients of it
#   tools/slurm_here.sh stop FOLDER     end its jobs and its daemons
#
# It runs as the user who starts it and touches no SLURM that is there already: configuration, ports, key, socket and
# process ids are its own.
set -euo pipefail

install() {
    command -v slurmctld slurmd sbatch munged >/dev/null && return
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq
    # Nothing is to start by itself.
    printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d && chmod +x /usr/sbin/policy-rc.d
    apt-get install -y -qq --no-install-recommends slurm-wlm munge
    rm /usr/sbin/policy-rc.d
}

free_port() {
    python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

configure() {
    local folder=$1 host cpus memory
    host=$(hostname -s)
    cpus=$(nproc --all)
    memory=$(awk '/MemTotal/ {print int($2 / 1024)}' /proc/meminfo)
    mkdir -p "$folder"/{state,one,two,log}
    cat >"$folder/slurm.conf" <<EOF
ClusterName=here
SlurmctldHost=$host(127.0.0.1)
SlurmUser=$(id -un)
SlurmdUser=$(id -un)
AuthType=auth/munge
AuthInfo=socket=$folder/munge.socket,cred_expire=5
CredType=cred/munge
SlurmctldPort=$(free_port)
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/%n
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd-%n.pid
SlurmctldLogFile=$folder/log/slurmctld.txt
SlurmdLogFile=$folder/log/slurmd-%n.txt
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=1,bf_interval=1,batch_sched_delay=0,sched_min_interval=0
MpiDefault=none
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
SwitchType=switch/none
ReturnToService=2
KillWait=2
MinJobAge=5
OverTimeLimit=0
SlurmdParameters=config_overrides
NodeName=one NodeHostname=$host NodeAddr=127.0.0.1 Port=$(free_port) CPUs=$cpus RealMemory=$memory
NodeName=two NodeHostname=$host NodeAddr=127.0.0.1 Port=$(free_port) CPUs=$cpus RealMemory=$memory
PartitionName=all Nodes=one,two Default=YES MaxTime=60 State=UP
EOF
}

start() {
    local folder=$1 as_root=()
    [ "$(id -u)" = 0 ] && as_root=(--force)
    [ -f "$folder/munge.key" ] || { mkdir -p "$folder" && (umask 077 && head -c 128 /dev/urandom >"$folder/munge.key"); }
    chmod 755 "$folder"
    configure "$folder"
    export SLURM_CONF=$folder/slurm.conf
    munged "${as_root[@]}" --socket="$folder/munge.socket" --key-file="$folder/munge.key" --num-threads=2 \
        --pid-file="$folder/munged.pid" --log-file="$folder/log/munged.txt" --seed-file="$folder/munge.seed"
    slurmctld -c
    # What lies here this machine sees and the nodes don't, where a mount may be made.
    mkdir -p "$folder/private"
    local hide=(unshare --mount sh -c 'mount -t tmpfs none "$0" && exec "$@"' "$folder/private")
    "${hide[@]}" true 2>/dev/null || hide=()
    "${hide[@]}" slurmd -N one
    "${hide[@]}" slurmd -N two
    for _ in $(seq 100); do
        [ "$(sinfo --noheader --states=idle --format=%D 2>/dev/null)" = 2 ] && break
        sleep 0.2
    done
    [ "$(sinfo --noheader --states=idle --format=%D)" = 2 ] || { tail -n 5 "$folder"/log/* >&2; exit 1; }
    echo "export SLURM_CONF=$SLURM_CONF"
}

stop() {
    local folder=$1 file
    export SLURM_CONF=$folder/slurm.conf
    if [ -f "$folder/slurmctld.pid" ]; then
        timeout 20 scancel --user="$(id -un)" || true
        for _ in $(seq 50); do  # no daemon of a job is to be left behind
            [ -n "$(timeout 20 squeue --noheader 2>/dev/null)" ] || break
            sleep 0.2
        done
    fi
    for file in "$folder"/slurmd-*.pid "$folder"/slurmctld.pid "$folder"/munged.pid; do
        [ ! -f "$file" ] || end "$(cat "$file")"
    done
}

end() {
    kill "$1" 2>/dev/null || return 0
    for _ in $(seq 50); do
        [ -d "/proc/$1" ] && ! grep -q '^State:.Z' "/proc/$1/status" 2>/dev/null || return 0
        sleep 0.1
    done
    kill -9 "$1" 2>/dev/null || true
}

case "${1:-} $#" in
    "install 1") install ;;
    "start 2") start "$(realpath -m "$2")" ;;
    "stop 2") stop "$(realpath -m "$2")" ;;
    *) sed -n '2,9s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
esac
