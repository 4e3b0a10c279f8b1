"""Slurm's configuration files, as text."""

from __future__ import annotations

import socket

from testcluster.layout import Layout
from testcluster.options import ClusterOptions

ACCOUNT = "research"


def slurm_conf(options: ClusterOptions, layout: Layout, ports: dict[str, int], *, cgroups: bool) -> str:
    """Text of slurm.conf; `cgroups` says that the host can confine jobs."""
    parts = (_identity(options, layout, ports), _behaviour(options), _plugins(options, cgroups=cgroups))
    lines = [line for part in parts for line in part]
    lines += _accounting(options, layout, ports)
    lines += _nodes(options, ports)
    lines += _partitions(options)
    return "\n".join([*lines, *options.slurm_conf, ""])


def _identity(options: ClusterOptions, layout: Layout, ports: dict[str, int]) -> list[str]:
    return [
        f"ClusterName={options.name}",
        f"SlurmctldHost={socket.gethostname()}(127.0.0.1)",
        f"SlurmctldPort={ports['slurmctld']}",
        # one uid for all daemons: the host's user "slurm" could not read a folder below /root
        "SlurmUser=root",
        "SlurmdUser=root",
        "AuthType=auth/munge",
        "CredType=cred/munge",
        # A requeued job waits until the credentials of its last start have expired: 120 s by default.
        f"AuthInfo=socket={layout.munge_socket},cred_expire={max(5, options.requeue_delay)}",
        f"StateSaveLocation={layout.root}/slurmctld",
        f"SlurmdSpoolDir={layout.root}/spool/%n",
        f"SlurmctldPidFile={layout.run}/slurmctld.own-pid",
        f"SlurmdPidFile={layout.run}/slurmd.%n.own-pid",
        f"SlurmctldLogFile={layout.log}/slurmctld.log",
        f"SlurmdLogFile={layout.log}/slurmd:%n.log",
    ]


def _behaviour(options: ClusterOptions) -> list[str]:
    lines = [
        "CommunicationParameters=NoInAddrAny,NoCtldInAddrAny",  # loopback only
        "SchedulerParameters=batch_sched_delay=0,sched_min_interval=0,sched_interval=1,bf_interval=1",
        "SlurmdParameters=config_overrides",  # the host has less than the nodes declare
        "ReturnToService=2",
        "SlurmctldTimeout=30",
        f"SlurmdTimeout={options.slurmd_timeout}",
        "MessageTimeout=30",  # two busy cores serve everything
        f"MinJobAge={options.min_job_age}",
        f"KillWait={options.kill_wait}",
        f"MaxArraySize={options.max_array_size}",
        f"MaxJobCount={options.max_job_count}",
        "MpiDefault=none",
    ]
    if options.preemption != "off":
        lines += ["PreemptType=preempt/partition_prio", f"PreemptMode={options.preemption.upper()}"]
    return lines


def _plugins(options: ClusterOptions, *, cgroups: bool) -> list[str]:
    kind = ("cgroup", "cgroup") if cgroups else ("linuxproc", "none")
    return [
        f"ProctrackType=proctrack/{kind[0]}",
        f"TaskPlugin=task/{kind[1]}",
        "SelectType=select/cons_tres",
        "SelectTypeParameters=CR_Core_Memory",
        # Without a default a job gets the whole memory of its node and nothing runs beside it.
        f"DefMemPerCPU={options.memory // options.cpus}",
        "JobAcctGatherType=jobacct_gather/linux",
        "JobAcctGatherFrequency=task=2",
        "SwitchType=switch/none",
    ]


def _accounting(options: ClusterOptions, layout: Layout, ports: dict[str, int]) -> list[str]:
    if not options.accounting:
        return ["AccountingStorageType=accounting_storage/none"]
    return [
        "AccountingStorageType=accounting_storage/slurmdbd",
        "AccountingStorageHost=127.0.0.1",
        f"AccountingStoragePort={ports['slurmdbd']}",
        f"AccountingStoragePass={layout.munge_socket}",
        "AccountingStorageEnforce=associations,limits,qos",
        *(["AccountingStorageTRES=gres/gpu"] if options.gpu_node_names else []),
    ]


def _nodes(options: ClusterOptions, ports: dict[str, int]) -> list[str]:
    lines = ["GresTypes=gpu"] if options.gpu_node_names else []
    for node in options.node_names:
        gres = f" Gres=gpu:{options.gpus}" if node in options.gpu_node_names else ""
        lines.append(
            f"NodeName={node} NodeHostname={socket.gethostname()} NodeAddr=127.0.0.1 Port={ports[f'slurmd:{node}']}"
            f" CPUs={options.cpus} Boards=1 SocketsPerBoard=1 CoresPerSocket={options.cpus} ThreadsPerCore=1"
            f" RealMemory={options.memory}{gres} State=UNKNOWN"
        )
    return lines


def _partitions(options: ClusterOptions) -> list[str]:
    everyone = ",".join(options.node_names)
    common = "MaxTime=INFINITE DefaultTime=30 State=UP"
    preempted = ""
    if options.preemption != "off":
        preempted = f" PriorityTier=1 GraceTime={options.grace_time}"
    lines = [f"PartitionName=compute Nodes={everyone} Default=YES {common}{preempted}"]
    if options.gpu_node_names:
        lines.append(f"PartitionName=gpu Nodes={','.join(options.gpu_node_names)} {common}{preempted}")
    if options.preemption != "off":
        lines.append(f"PartitionName=urgent Nodes={everyone} {common} PriorityTier=10 PreemptMode=OFF")
    return lines


def gres_conf(options: ClusterOptions, layout: Layout) -> str:
    """Text of gres.conf. The files must be device nodes, or CUDA_VISIBLE_DEVICES stays empty."""
    files = f"{layout.devices}/gpu[0-{options.gpus - 1}]"
    return "".join(f"NodeName={node} Name=gpu File={files}\n" for node in options.gpu_node_names)


def cgroup_conf(*, cgroups: bool, version: tuple[int, int]) -> str:
    """Text of cgroup.conf for a version of Slurm."""
    if cgroups:
        return "CgroupPlugin=cgroup/v1\nCgroupMountpoint=/sys/fs/cgroup\nConstrainRAMSpace=yes\n"
    # 22.05 does not know the word, and loads no plug-in unasked; later versions do.
    return "CgroupPlugin=disabled\n" if version > (22, 5) else ""


def slurmdbd_conf(layout: Layout, ports: dict[str, int]) -> str:
    """Text of slurmdbd.conf; "localhost" makes the client library use the socket of MYSQL_UNIX_PORT."""
    lines = [
        "AuthType=auth/munge",
        f"AuthInfo=socket={layout.munge_socket}",
        "DbdHost=localhost",
        "DbdAddr=127.0.0.1",
        f"DbdPort={ports['slurmdbd']}",
        "SlurmUser=root",
        f"PidFile={layout.run}/slurmdbd.own-pid",
        f"LogFile={layout.log}/slurmdbd.log",
        "StorageType=accounting_storage/mysql",
        "StorageHost=localhost",
        "StorageUser=root",
        "StorageLoc=slurm_acct_db",
    ]
    return "\n".join([*lines, ""])
