"""Which device is meant by a word, with and without CUDA."""

import os

import pytest
import torch

from revbench.bench import device
from revbench.bench.errors import DeviceError


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> bool:
    """A machine with CUDA, or one without."""
    there: bool = request.param
    monkeypatch.setattr(torch.cuda, "is_available", lambda: there)
    return there


@pytest.mark.parametrize("cuda", [True, False], indirect=True)
def test_auto_is_cuda_where_there_is_one(cuda: bool) -> None:
    """`auto` takes what is there; `cpu` is the CPU in any case."""
    assert device.resolve("auto") == ("cuda" if cuda else "cpu")
    assert device.resolve("cpu") == "cpu"


@pytest.mark.parametrize("cuda", [True], indirect=True)
@pytest.mark.usefixtures("cuda")
def test_cuda_is_cuda() -> None:
    """`cuda` is taken at its word."""
    assert device.resolve("cuda") == "cuda"


@pytest.mark.parametrize("cuda", [False], indirect=True)
@pytest.mark.usefixtures("cuda")
def test_no_cuda_is_a_sentence() -> None:
    """CUDA where there is none is refused with what to do instead; it never becomes the CPU in silence."""
    with pytest.raises(DeviceError, match="'cuda' was asked for but torch finds none here; use --device cpu"):
        device.resolve("cuda")


@pytest.mark.parametrize("word", ["gpu", "CUDA", "cuda:0", ""])
def test_another_word_is_a_sentence(word: str) -> None:
    """A word that is no device is answered with all that are: `gpu` is nearest to `cpu` in letters alone."""
    with pytest.raises(DeviceError, match=f"^there is no device '{word}'; valid: auto, cpu, cuda$"):
        device.resolve(word)


def test_asking_does_not_touch_the_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """The driver is asked through NVML, and the process that starts the others has no CUDA context."""
    monkeypatch.delenv("PYTORCH_NVML_BASED_CUDA_CHECK", raising=False)
    device.resolve("auto")
    assert os.environ["PYTORCH_NVML_BASED_CUDA_CHECK"] == "1"
    assert not torch.cuda.is_initialized()
