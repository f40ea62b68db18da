"""Cards and workspaces: tables whose every number has a source."""

import pytest

from revbench.bench.errors import ConfigError
from revbench.bench.memory.cards import card_names, card_of, cublas_workspace, unknown_workspaces


@pytest.mark.parametrize("name", card_names())
def test_every_card_has_a_source_and_a_workspace(name: str) -> None:
    """And as much memory as cards have."""
    card = card_of(name.upper())
    assert card.source
    assert 10 << 30 < card.memory_bytes < 200 << 30
    workspace = cublas_workspace(card.compute_capability)
    assert workspace.num_bytes == (32 << 20 if card.compute_capability == "9.0" else 8320 << 10)
    assert workspace.source
    assert not workspace.verified


@pytest.mark.parametrize(
    ("text", "num_bytes"),
    [("24GB", 24 * 10**9), ("24GiB", 24 << 30), ("1.5GB", 15 * 10**8), ("512 MiB", 512 << 20), ("900MB", 9 * 10**8)],
)
def test_amounts(text: str, num_bytes: int) -> None:
    """Powers of ten and of two are told apart."""
    card = card_of(text)
    assert (card.memory_bytes, card.compute_capability, card.title) == (num_bytes, None, text)


@pytest.mark.parametrize("text", ["rtx4091", "24", "24gb", "GB", "0GB", "-1GB", "", "1e3GB"])
def test_what_is_neither(text: str) -> None:
    """Is answered with the names there are."""
    with pytest.raises(ConfigError, match=r"there is no card .*, and it is no amount such as 24GB; (did you|valid)"):
        card_of(text)


def test_where_no_card_is_named_the_workspace_is_the_largest() -> None:
    """And says so."""
    workspace = cublas_workspace(None)
    assert workspace.num_bytes == 32 << 20
    assert "most of all cards" in workspace.source


def test_what_is_not_known_has_no_number() -> None:
    """Neither a card that nobody has looked up, nor what cuDNN takes."""
    assert cublas_workspace("99.0").num_bytes is None
    assert all(each.num_bytes is None and each.source for each in unknown_workspaces())
    assert {each.library.split()[0] for each in unknown_workspaces()} == {"cuDNN", "reductions"}
