"""What the README promises to a reader who copies it."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import revbench

ROOT = Path(revbench.__file__).resolve().parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def run(*arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """`python -m revbench` in a folder of its own."""
    return subprocess.run(
        [sys.executable, "-m", "revbench", *arguments],
        cwd=cwd,
        env={**os.environ, "COLUMNS": "120", **environment},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def test_the_plugin_of_the_readme_works(tmp_path: Path) -> None:
    """The snippet, copied into a package with the entry point, is listed and measured."""
    snippet = re.search(r"```python\n# my_package/revbench_plugin.py\n(.*?)```", README, re.DOTALL)
    group = re.search(r'entry-points\."([\w.]+)"\]\n(.*?)\n```', README, re.DOTALL)
    assert snippet
    assert group
    package = tmp_path / "site" / "my_package"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "revbench_plugin.py").write_text(snippet[1], encoding="utf-8")
    metadata = tmp_path / "site" / "my_package-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: my_package\nVersion: 1.0\n", encoding="utf-8")
    (metadata / "entry_points.txt").write_text(f"[{group[1]}]\n{group[2].replace(chr(34), '')}\n", encoding="utf-8")
    path = os.pathsep.join([str(tmp_path / "site"), *filter(None, [os.environ.get("PYTHONPATH")])])

    assert "mynet" in run("list", cwd=tmp_path, PYTHONPATH=path).stdout
    command = "run --suite cifar --set models=mynet --set timesteps=1 --set passes=memory"
    done = run(*command.split(), cwd=tmp_path, PYTHONPATH=path)
    assert done.returncode == 0, done.stderr
    assert "mynet" in (tmp_path / "runs" / "cifar" / "cifar.csv").read_text(encoding="utf-8")


def test_every_file_that_the_readme_links_to_exists() -> None:
    """Links and pictures are relative and lead somewhere."""
    targets = re.findall(r"\]\((?!http)([^)#]+)\)", README)
    assert targets
    assert [target for target in targets if not (ROOT / target).exists()] == []


NAMES = "run|report|compare|list|summary|explain|predict|validate|check|baseline write"
COMMANDS = sorted(set(re.findall(rf"`?(revbench (?:{NAMES})\b[^`\n#]*)", README)))


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_of_the_readme_is_known(command: str) -> None:
    """Options in the README's commands are those of `--help`."""
    words = command.split()
    shown = run(*words[1 : 3 if words[1] == "baseline" else 2], "--help", cwd=ROOT.parent).stdout
    assert [word for word in words if word.startswith("--") and word not in shown] == []
