"""The machine and the software that results come from, and what differs between two of them.

Nothing here touches CUDA, so that the process that starts the measuring processes holds no memory on the GPU.
"""

import os
import platform
import subprocess
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from importlib import metadata
from json import dumps
from pathlib import Path
from typing import Any

import torch
from pydantic import TypeAdapter, ValidationError

import revbench
from revbench.bench.cases import Device
from revbench.bench.errors import OutputError
from revbench.bench.gpu import Gpu, first_visible_gpu
from revbench.bench.store import utc_now, writing
from revbench.models.neurons import native

GIT_TIMEOUT_S = 5


@dataclass(frozen=True, kw_only=True)
class Environment:
    """What a run ran on; None where the machine has no such thing or does not tell.

    Attributes:
        at: when this was captured, ISO 8601 in UTC.
        revbench: version.
        git_commit: of the source tree of revbench, where it is a checkout.
        git_dirty: whether files under version control were changed since that commit.
        python: version.
        operating_system: with its release and the processor architecture.
        cpu: model name.
        num_cpus: that this process may use.
        memory_bytes: main memory in all.
        num_threads: of torch, within an operator.
        torch: version.
        torchvision: version.
        cuda: version that torch was built with.
        cudnn: version that torch loads.
        gpu: model name of the first visible GPU.
        gpu_memory_bytes: its memory in all.
        compute_capability: of the GPU.
        driver: version of the GPU's driver.
        gpu_reason: why something about the GPU is None; empty when nothing is.
        matmul_fp32_precision: `ieee`, `tf32`, or `none` where nothing was set (which means `ieee`).
        conv_fp32_precision: likewise, for the convolutions of cuDNN.
        cudnn_benchmark: whether cuDNN tries algorithms and keeps the fastest.
        cudnn_deterministic: whether cuDNN keeps to deterministic algorithms.
        deterministic_algorithms: whether torch does.
        cuda_visible_devices: the environment variable of that name, like the following ones.
        pytorch_alloc_conf: options of torch's allocator.
        pytorch_cuda_alloc_conf: the same under its older name.
        omp_num_threads: threads of the processor's libraries.
        omp_wait_policy: whether they wait for each other in a busy loop; `PASSIVE` is set beside busy processes, unless
            the user chose.
        neuron_kernel: what computes multi-step neurons on the CPU: `c` with its compiler, or `torch` and why.
    """

    at: str
    revbench: str
    git_commit: str | None
    git_dirty: bool | None
    python: str
    operating_system: str
    cpu: str
    num_cpus: int
    memory_bytes: int
    num_threads: int
    torch: str
    torchvision: str | None
    cuda: str | None
    cudnn: str | None
    gpu: str | None
    gpu_memory_bytes: int | None
    compute_capability: str | None
    driver: str | None
    gpu_reason: str
    matmul_fp32_precision: str
    conv_fp32_precision: str
    cudnn_benchmark: bool
    cudnn_deterministic: bool
    deterministic_algorithms: bool
    cuda_visible_devices: str | None
    pytorch_alloc_conf: str | None
    pytorch_cuda_alloc_conf: str | None
    omp_num_threads: str | None
    omp_wait_policy: str | None
    neuron_kernel: str


CODE_FIELDS = ("revbench", "git_commit", "git_dirty")
SOFT_FIELDS = (
    "at",
    "python",
    "operating_system",
    "num_cpus",
    "memory_bytes",
    "torchvision",
    "gpu_reason",
    "cuda_visible_devices",
)
LOAD_FIELDS = ("omp_wait_policy",)
"""What follows from the load of the machine: it changes times, and may differ within a run."""
HARD_FIELDS = tuple(
    field.name for field in fields(Environment) if field.name not in {*CODE_FIELDS, *SOFT_FIELDS, *LOAD_FIELDS}
)


def capture(device: Device) -> Environment:
    """Says what a run on a device runs on, without initialising CUDA; the GPU is asked for with `cuda` only."""
    commit, dirty = _git(Path(revbench.__file__).resolve().parent)
    gpu = first_visible_gpu() if device == "cuda" else Gpu(reason=f"not asked for on device {device}")
    # The stubs of torch do not know `conv`; `allow_tf32` raises where the two ways of setting TF32 were mixed.
    cudnn: Any = torch.backends.cudnn
    return Environment(
        at=utc_now(),
        revbench=revbench.__version__,
        git_commit=commit,
        git_dirty=dirty,
        python=platform.python_version(),
        operating_system=platform.platform(),
        cpu=_cpu(),
        num_cpus=num_usable_cpus(),
        memory_bytes=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        num_threads=torch.get_num_threads(),
        torch=str(torch.__version__),
        torchvision=_version("torchvision"),
        cuda=torch.version.cuda,
        cudnn=_cudnn(),
        gpu=gpu.name,
        gpu_memory_bytes=gpu.memory_bytes,
        compute_capability=gpu.compute_capability,
        driver=gpu.driver,
        gpu_reason=gpu.reason,
        matmul_fp32_precision=torch.backends.cuda.matmul.fp32_precision,
        conv_fp32_precision=cudnn.conv.fp32_precision,
        cudnn_benchmark=cudnn.benchmark,
        cudnn_deterministic=cudnn.deterministic,
        deterministic_algorithms=torch.are_deterministic_algorithms_enabled(),
        cuda_visible_devices=os.environ.get("CUDA_VISIBLE_DEVICES"),
        pytorch_alloc_conf=os.environ.get("PYTORCH_ALLOC_CONF"),
        pytorch_cuda_alloc_conf=os.environ.get("PYTORCH_CUDA_ALLOC_CONF"),
        omp_num_threads=os.environ.get("OMP_NUM_THREADS"),
        omp_wait_policy=os.environ.get("OMP_WAIT_POLICY"),
        neuron_kernel=native.status(),
    )


def write_environment(environment: Environment, path: Path) -> None:
    """Writes `environment.json`, whole or not at all.

    Raises:
        OutputError: it cannot be written.
    """
    part = path.with_name(f"{path.name}.part")
    with writing(path):
        try:
            part.write_text(dumps(asdict(environment), indent=2) + "\n", encoding="utf-8")
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)


def read_environment(path: Path) -> Environment:
    """Reads what `write_environment` wrote.

    Raises:
        OutputError: there is no such file, or it is no environment.
    """
    try:
        return TypeAdapter(Environment).validate_json(path.read_bytes(), strict=True)
    except OSError as error:
        raise OutputError(f"cannot read {path}: {error.strerror}; name the folder of a run") from error
    except ValidationError as error:
        first = error.errors()[0]
        field = "".join(f"{part}: " for part in first["loc"])
        raise OutputError(f"{path} is not an environment ({field}{first['msg']}); begin anew with --fresh") from error


def differences(old: Environment, new: Environment) -> list[str]:
    """What differs and can change a measurement, one line each: `torch 2.11.0 -> 2.15.0`."""
    return _differences(old, new, HARD_FIELDS)


def load_differences(old: Environment, new: Environment) -> list[str]:
    """What differs because other processes kept the machine busy, one line each."""
    return _differences(old, new, LOAD_FIELDS)


def code_differences(old: Environment, new: Environment) -> list[str]:
    """What differs in the code of revbench itself, one line each."""
    return _differences(old, new, CODE_FIELDS)


def rows(environment: Environment) -> list[tuple[str, str]]:
    """Everything, as (label, text) to be printed."""
    return [(_label(field.name), _shown(environment, field.name)) for field in fields(environment)]


def _differences(old: Environment, new: Environment, names: Sequence[str]) -> list[str]:
    return [
        f"{_label(name)} {_shown(old, name)} -> {_shown(new, name)}"
        for name in names
        if getattr(old, name) != getattr(new, name)
    ]


def _label(name: str) -> str:
    return name.removesuffix("_bytes").replace("_", " ")


def _shown(environment: Environment, name: str) -> str:
    match getattr(environment, name):
        case None | "":
            return "none"
        case bool(value):
            return "yes" if value else "no"
        case int(value) if name.endswith("_bytes"):
            return f"{value / 2**30:.2f} GiB"
        case value:
            return str(value)


def _git(root: Path) -> tuple[str | None, bool | None]:
    """The commit of the checkout whose top is `root` and whether it was changed; (None, None) where there is none."""
    located = _git_output(root, "rev-parse", "--show-toplevel", "HEAD")
    if located is None:
        return None, None
    top, _, commit = located.rpartition("\n")
    if Path(top).resolve() != root:  # installed within somebody else's checkout
        return None, None
    changes = _git_output(root, "status", "--porcelain", "--untracked-files=no")
    return commit, None if changes is None else bool(changes)


def _git_output(root: Path, *arguments: str) -> str | None:
    # Inside a git hook, variables such as GIT_DIR point at another repository.
    variables = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    command = ["git", "--no-optional-locks", "-C", str(root), *arguments]
    try:
        done = subprocess.run(
            command, env=variables, stdin=subprocess.DEVNULL, capture_output=True, timeout=GIT_TIMEOUT_S, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return os.fsdecode(done.stdout).strip()


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, "") or platform.processor() or platform.machine()


def usable_cpus() -> frozenset[int]:
    """Processors that this process may use, as the system numbers them."""
    if hasattr(os, "sched_getaffinity"):
        return frozenset(os.sched_getaffinity(0))
    return frozenset(range(os.cpu_count() or 1))


def num_usable_cpus() -> int:
    """How many they are."""
    return len(usable_cpus())


def _version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def _cudnn() -> str | None:
    # torch.backends.cudnn.version() would initialise CUDA where there is a GPU.
    library = getattr(torch._C, "_cudnn", None)
    return ".".join(str(part) for part in library.getRuntimeVersion()) if library else None
