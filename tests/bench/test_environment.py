"""The machine that results come from: what is said of it, and what differs between two."""

import json
import os
import shutil
import subprocess
import warnings
from dataclasses import fields, replace
from pathlib import Path

import pytest
import torch

import revbench
from revbench.bench.cases import Device
from revbench.bench.environment import (
    CODE_FIELDS,
    GIT_TIMEOUT_S,
    HARD_FIELDS,
    LOAD_FIELDS,
    SOFT_FIELDS,
    Environment,
    capture,
    code_differences,
    differences,
    read_environment,
    rows,
    write_environment,
)
from revbench.bench.errors import OutputError
from revbench.bench.gpu import Gpu

GIT = ["git", "-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"]


def checkout(folder: Path) -> str:
    """Makes a checkout with one commit, which is returned."""
    if shutil.which("git") is None:
        pytest.skip("needs git")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "__init__.py").write_text("")
    for command in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "all"]):
        subprocess.run([*GIT, "-C", str(folder), *command], check=True)
    done = subprocess.run([*GIT, "-C", str(folder), "rev-parse", "HEAD"], check=True, capture_output=True, text=True)
    return done.stdout.strip()


def install_at(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Pretends that revbench lies in a folder."""
    monkeypatch.setattr(revbench, "__file__", str(folder / "__init__.py"))


@pytest.mark.parametrize("device", ["cpu", "cuda", "fake"])
def test_capture_touches_no_cuda_and_warns_of_nothing(monkeypatch: pytest.MonkeyPatch, device: Device) -> None:
    """On any machine, for any device, the environment is told without initialising CUDA and without a warning."""

    def touched() -> None:
        raise AssertionError("CUDA was initialised")

    monkeypatch.setattr(torch.cuda, "_lazy_init", touched)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        told = capture(device)
    assert told.torch == torch.__version__
    assert told.revbench == revbench.__version__
    assert told.num_threads == torch.get_num_threads()
    assert 1 <= told.num_cpus <= (os.cpu_count() or 1)
    assert told.memory_bytes > 2**28
    assert told.cpu
    assert told.at.endswith("+00:00")
    assert (told.gpu is None) <= bool(told.gpu_reason)


def test_capture_reads_the_settings_of_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    """TF32, cuDNN, determinism and the environment variables are told as they are set."""
    before = capture("cpu")
    # To set them would leave the process unable to read the older `allow_tf32`.
    precisions = {("cuda", "matmul"): "tf32", ("cuda", "conv"): "ieee"}
    monkeypatch.setattr(torch._C, "_get_fp32_precision_getter", lambda *names: precisions[names])
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", not before.cudnn_benchmark)
    monkeypatch.setattr(torch.backends.cudnn, "deterministic", not before.cudnn_deterministic)
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    monkeypatch.setenv("PYTORCH_ALLOC_CONF", "expandable_segments:True")
    told = capture("cpu")
    assert (told.matmul_fp32_precision, told.conv_fp32_precision) == ("tf32", "ieee")
    assert told.cudnn_benchmark is not before.cudnn_benchmark
    assert told.cudnn_deterministic is not before.cudnn_deterministic
    assert (told.omp_num_threads, told.pytorch_alloc_conf) == ("3", "expandable_segments:True")


def test_the_gpu_is_asked_for_with_cuda_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run on the processor does not name a GPU that it did not use."""
    found = Gpu("NVIDIA H200", 2**37, "9.0", "580.10", "")
    monkeypatch.setattr("revbench.bench.environment.first_visible_gpu", lambda: found)
    assert capture("cpu").gpu is None
    assert capture("fake").gpu_reason == "not asked for on device fake"
    told = capture("cuda")
    assert Gpu(told.gpu, told.gpu_memory_bytes, told.compute_capability, told.driver, told.gpu_reason) == found


def test_a_checkout_tells_its_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The commit is told, also inside a git hook; dirty are changed files, not results that lie about."""
    commit = checkout(tmp_path / "revbench")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "more.py").write_text("")
    other = checkout(tmp_path / "other")
    install_at(monkeypatch, tmp_path / "revbench")
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "other" / ".git"))
    (tmp_path / "revbench" / "results.csv").write_text("")
    clean = capture("cpu")
    assert (clean.git_commit, clean.git_dirty) == (commit, False)
    assert commit != other
    (tmp_path / "revbench" / "__init__.py").write_text("changed")
    assert capture("cpu").git_dirty is True


def test_a_package_installed_within_another_checkout_has_no_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The commit of a repository whose virtual environment holds revbench is not that of revbench."""
    checkout(tmp_path)
    (tmp_path / "site-packages" / "revbench").mkdir(parents=True)
    install_at(monkeypatch, tmp_path / "site-packages" / "revbench")
    assert (capture("cpu").git_commit, capture("cpu").git_dirty) == (None, None)


@pytest.mark.parametrize(
    "error", [FileNotFoundError("git"), PermissionError("git"), subprocess.TimeoutExpired("git", GIT_TIMEOUT_S)]
)
def test_git_never_fails_a_capture(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    """No git, a forbidden git and a git that hangs: the commit is not known, and that is all."""

    def run(*_arguments: object, **_options: object) -> None:
        raise error

    monkeypatch.setattr(subprocess, "run", run)
    assert (capture("cpu").git_commit, capture("cpu").git_dirty) == (None, None)


def test_written_and_read_it_is_the_same(tmp_path: Path) -> None:
    """Every field survives, and no other file is left."""
    told = capture("cuda")
    write_environment(told, tmp_path / "environment.json")
    write_environment(told, tmp_path / "environment.json")
    assert read_environment(tmp_path / "environment.json") == told
    assert [path.name for path in tmp_path.iterdir()] == ["environment.json"]


def test_a_full_disk_leaves_the_old_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Writing that fails half-way is an OutputError and leaves the earlier file whole."""
    path = tmp_path / "environment.json"
    old = capture("cpu")
    write_environment(old, path)

    def full(self: Path, *_arguments: object, **_options: object) -> int:
        self.write_bytes(b'{"at')
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(OutputError, match="the disk is full"):
        write_environment(replace(old, cpu="other"), path)
    assert read_environment(path) == old
    assert [found.name for found in tmp_path.iterdir()] == ["environment.json"]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("{", "JSON"),
        ("[]", "object"),
        (json.dumps({"at": "now"}), "revbench: Field required"),
        (json.dumps({"at": 3}), "at: "),
    ],
)
def test_what_is_no_environment_is_a_sentence(tmp_path: Path, text: str, complaint: str) -> None:
    """A broken file is named with the field that is wrong."""
    path = tmp_path / "environment.json"
    path.write_text(text)
    with pytest.raises(OutputError, match=complaint) as raised:
        read_environment(path)
    assert str(raised.value).startswith(f"{path} is not an environment")


def test_no_environment_is_a_sentence(tmp_path: Path) -> None:
    """A missing file is answered with what to do."""
    with pytest.raises(OutputError, match="No such file or directory; name the folder of a run"):
        read_environment(tmp_path / "environment.json")


def test_each_field_is_hard_soft_or_code() -> None:
    """No field is forgotten, and none counts twice."""
    names = sorted([*HARD_FIELDS, *SOFT_FIELDS, *LOAD_FIELDS, *CODE_FIELDS])
    assert names == sorted(field.name for field in fields(Environment))


def test_differences_are_those_that_can_change_a_measurement() -> None:
    """Hard fields are told in a person's words, in order; time, commit and memory are not among them."""
    old = replace(capture("cpu"), torch="2.11.0", gpu=None, gpu_memory_bytes=None, cudnn_benchmark=False)
    soft = replace(old, at="later", memory_bytes=1, git_commit="abc", python="3.99")
    new = replace(soft, torch="2.15.0", gpu="NVIDIA H200", gpu_memory_bytes=141 * 2**30, cudnn_benchmark=True)
    assert differences(old, soft) == []
    assert differences(old, new) == [
        "torch 2.11.0 -> 2.15.0",
        "gpu none -> NVIDIA H200",
        "gpu memory none -> 141.00 GiB",
        "cudnn benchmark no -> yes",
    ]


def test_code_differences_are_those_of_revbench() -> None:
    """Version, commit and dirty are told, and nothing else."""
    old = replace(capture("cpu"), revbench="0.1.0", git_commit="abc", git_dirty=False)
    new = replace(old, revbench="0.2.0", git_commit=None, git_dirty=True, torch="other")
    assert code_differences(old, old) == []
    assert code_differences(old, new) == ["revbench 0.1.0 -> 0.2.0", "git commit abc -> none", "git dirty no -> yes"]


def test_rows_print_everything() -> None:
    """Each field is a row of a label and a text that is never empty."""
    printed = dict(rows(replace(capture("cpu"), memory_bytes=3 * 2**29, git_dirty=True)))
    assert len(printed) == len(fields(Environment))
    assert printed["memory"] == "1.50 GiB"
    assert printed["git dirty"] == "yes"
    assert printed["gpu"] == "none"
    assert all(printed.values())
