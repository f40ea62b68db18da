"""Freed memory stays with the process: the next tensor's pages are there already."""

import subprocess
import sys

import pytest

NUM_BLOCKS = 20
PAGES_OF_BLOCK = (16 << 20) // 4096
SCRIPT = f"""
import resource
from revbench.bench.kept_pages import keep_freed_pages
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range({NUM_BLOCKS}):
        first, second = b"x" * (16 << 20), b"y" * (16 << 20)
        del first, second
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
print(faults(), keep_freed_pages(), faults())
"""


def test_large_blocks_are_not_cleared_anew() -> None:
    told = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True).stdout.split()
    if told[1] == "False":
        pytest.skip("the C library is not glibc")
    before, after = int(told[0]), int(told[2])
    assert before > 1.5 * NUM_BLOCKS * PAGES_OF_BLOCK
    assert after < 4 * PAGES_OF_BLOCK
