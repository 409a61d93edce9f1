"""Every engine yields what the function returns of each item, whatever happens to the process in which it runs."""

import os
import signal
import sys
from pathlib import Path

import pytest

from neuromvm.errors import SpecError
from neuromvm.workflow.sweep.engines import Lost, Processes, Serial, Slurm


def work_or_die(item: tuple[str, Path]) -> str:
    """End this process, or return how it is: a function of this light module, so that workers start quickly."""
    how, marker = item
    if how == "always" or (how == "once" and not marker.exists()):
        marker.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return how


def test_serial_keeps_the_order():
    assert list(Serial().map(abs, [-3, 1, -2])) == [3, 1, 2]


def test_processes_survive_a_killed_worker_and_name_the_item_that_kills(tmp_path):
    items = [("once", tmp_path / "marker"), *[("never", tmp_path)] * 3, ("always", tmp_path)]
    results = list(Processes(2).map(work_or_die, items))
    assert sorted(result for result in results if isinstance(result, str)) == ["never", "never", "never", "once"]
    (lost,) = [result for result in results if isinstance(result, Lost)]
    assert lost.number == 4
    assert "killed" in lost.reason


def test_workers_have_one_thread(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "4")
    assert list(Processes(1).map(os.getenv, ["OMP_NUM_THREADS"])) == ["1"]


def test_jobs_of_submitit_on_this_machine(tmp_path):
    engine = Slurm(tmp_path / "jobs", parameters={"timeout_min": 5}, cluster="local", poll=0.1)
    results = list(engine.map(work_or_die, [("never", tmp_path), ("always", tmp_path)]))
    (lost,) = [result for result in results if isinstance(result, Lost)]
    assert lost.number == 1
    assert str(tmp_path / "jobs") in lost.reason
    assert "never" in results


def test_the_job_file_for_slurm(tmp_path, monkeypatch):
    """Stand-ins for srun and sbatch are on the path; that for sbatch keeps the job file. No job runs."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, text in (("srun", ""), ("sbatch", f"cp $1 {tmp_path}/job.sh; echo Submitted batch job 4711")):
        (programs / name).write_text(f"#!/bin/sh\n{text}\n")
        (programs / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(programs), prepend=os.pathsep)
    engine = Slurm(tmp_path / "jobs", jobs=2, parameters={"partition": "cpu", "timeout_min": 90, "mem_gb": 4})
    jobs = engine.submit(len, [("a",), ("b",), ("c",)])
    assert [job.job_id for job in jobs] == ["4711_0", "4711_1", "4711_2"]
    lines = (tmp_path / "job.sh").read_text().splitlines()
    wanted = ("array=0-2%2", "partition=cpu", "time=90", "mem=4GB", "cpus-per-task=1", "job-name=neuromvm-sweep", "nodes=1")
    for option in wanted:
        assert f"#SBATCH --{option}" in lines
    assert any(line.startswith("#SBATCH --signal=USR2@") for line in lines)
    assert lines[-1].startswith("srun ")
    assert sys.executable in lines[-1]
    assert "submitit.core._submit" in lines[-1]
    with pytest.raises(SpecError, match="partitin"):
        Slurm(tmp_path / "jobs", parameters={"partitin": "cpu"})


def test_slurm_where_there_is_none(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SpecError, match="login node"):
        Slurm(tmp_path / "jobs")


def test_a_dask_cluster_that_loses_a_worker(tmp_path):
    distributed = pytest.importorskip("distributed")
    from neuromvm.workflow.sweep.engines import Dask

    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None) as cluster:
        engine = Dask(cluster.scheduler_address)
        assert sorted(engine.map(work_or_die, [("once", tmp_path / "marker"), ("never", tmp_path)])) == ["never", "once"]


def test_dask_where_no_scheduler_answers():
    from neuromvm.workflow.sweep.engines import Dask

    with pytest.raises(SpecError, match="no Dask scheduler"):
        Dask("tcp://127.0.0.1:9", timeout=0.5)
