"""What the README promises to a reader who copies it."""

import re
from pathlib import Path

import pytest
from snippets import install_plugin, path_with
from snippets import run_revbench as run

import revbench
from revbench.docs.generator.complexity import complexity_table
from revbench.docs.generator.measured import traced_run
from revbench.reports.published import published_numbers

ROOT = Path(revbench.__file__).resolve().parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_plugin_of_the_readme_works(tmp_path: Path) -> None:
    """The snippet, copied into a package with the entry point, is listed and measured."""
    snippet = re.search(r"```python\n# my_package/revbench_plugin.py\n(.*?)```", README, re.DOTALL)
    announced = re.search(r"# pyproject.toml of my_package\n(.*?)```", README, re.DOTALL)
    assert snippet
    assert announced
    site = tmp_path / "site"
    install_plugin(site, "my_package", announced[1])
    (site / "my_package" / "revbench_plugin.py").write_text(snippet[1], encoding="utf-8")
    path = path_with(site)

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


def test_the_complexity_table_is_that_of_the_run() -> None:
    """To the letter: it is generated from `reports/measured/traced/complexity`."""
    rows = traced_run("complexity").table("complexity")
    assert len(rows) == 18
    assert complexity_table(rows) in README


def test_the_sentences_on_depth_are_those_of_the_run() -> None:
    """Bytes at each depth and for each block, of `reports/measured/traced/depth-scaling`."""
    rows = traced_run("depth-scaling").table("")
    peaks = {
        model: {int(row["depth"]): int(row["activation_peak_bytes"]) for row in rows if row["model"] == model}
        for model in ("msresnet", "revsresnet")
    }
    assert len(set(peaks["revsresnet"].values())) == 1
    assert f"flat in depth: {peaks['revsresnet'][1]:,} B" in README
    a_block = peaks["msresnet"][16] - peaks["msresnet"][8]
    assert a_block % 8 == 0
    constant = peaks["msresnet"][16] - 16 * a_block // 8
    assert f"activation peak {constant:,} B + {a_block // 8:,} B per block" in README


def test_the_published_numbers_are_as_many_as_it_says() -> None:
    """Whoever adds some changes the sentence."""
    assert f"Published numbers, {len(published_numbers())} of them" in README


def per_image(suite: str, metric: str) -> dict[tuple[str, str], float]:
    """MiB of an image by model and rule, of the run of a suite that the repository holds."""
    rows = [row for row in traced_run(suite).table("") if row["status"] == "ok"]
    return {(row["model"], row["rule"]): float(row[f"{metric}_bytes_per_image"]) / 2**20 for row in rows}


def test_the_tables_and_ratios_are_those_of_the_runs() -> None:
    """Networks of equal size, spikes against ReLU, and the ratios that the paper prints."""
    peak, end = per_image("cifar", "activation_peak"), per_image("cifar", "forward_end_activation")
    for name, model in (("MS-ResNet34", "msresnet34"), ("RevSResNet37", "revsresnet37")):
        assert f"| {name} | {peak[model, 'bptt']:.2f} | {end[model, 'bptt']:.2f} |" in README
    ratios = (found["msresnet34", "bptt"] / found["revsresnet37", "bptt"] for found in (peak, end))
    assert "| ratio | {:.2f} | {:.2f} |".format(*ratios) in README

    of = per_image("ann-vs-snn", "activation_peak")
    spiking = {rule: of["spikingresnet19", rule] / of["resnet19", "bptt"] for rule in ("bptt", "sltt")}
    sentence = " ".join(README.split())
    assert f"needs {spiking['bptt']:.1f} times the activations of ResNet-19 with ReLU" in sentence
    assert f"with SLTT {spiking['sltt']:.1f} times" in sentence

    held = per_image("published-revsnn", "forward_end_activation")
    resnet = held["msresnet34_published", "bptt"] / held["revsresnet37_published", "bptt"]
    transformer = held["spikingformer4_384_published", "bptt"] / held["revsformer4_384_published", "bptt"]
    assert f"prints the paper's 3.79 and 3.00 as {resnet:.2f} and {transformer:.2f}" in sentence
