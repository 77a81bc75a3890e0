"""The list of what is watched is read strictly."""

from __future__ import annotations

from pathlib import Path

import pytest

from airust.types import UserError
from airust.watch.topics import ADDRESSES, Topic, read_watchlist

ROOT = Path(__file__).resolve().parent.parent.parent


def read(folder: Path, text: str):
    (folder / "list.toml").write_text(text, "utf-8")
    return read_watchlist(folder / "list.toml")


def test_a_list_in_its_order(tmp_path: Path):
    text = """
        [addresses]
        github = "https://git.example/api/v3"
        [[crate]]
        name = "burn"
        about = "frameworks"
        group = "Models"
        [[family]]
        name = "Phi"
        owner = "microsoft"
        search = "Phi"
    """
    found = read(tmp_path, text)
    assert found.topics == (
        Topic("crate", "burn", "frameworks", "Models"),
        Topic("family", "Phi", owner="microsoft", search="Phi"),
    )
    assert found.addresses == {**ADDRESSES, "github": "https://git.example/api/v3"}


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[[crate]", "is no TOML file"),
        ("", "names nothing to watch"),
        ('[[crates]]\nname = "burn"', "'crates' is none of package, crate,"),
        ('[crate]\nname = "burn"', "with two brackets"),
        ("[[crate]]\nname = 3", "the fields of a crate are texts"),
        ('[[crate]]\nabout = "x"', "crate '' has no name"),
        ('[[paper]]\nname = "x"', "paper 'x' has no query"),
        ('[[crate]]\nname = "burn"\nstars = "3"', "a field 'stars' that is not known"),
        ('[[crate]]\nname = "--help"', "'--help' is no name of a crate"),
        ('[[package]]\nname = "a b"', "'a b' is no name of a package"),
        ('[[repository]]\nname = "candle"', "'candle' is no name of a repository"),
        ('[[repository]]\nname = "../../x"', "is no name of a repository"),
        ('[[crate]]\nname = "a"\n[[crate]]\nname = "a"', "the crate a is there twice"),
        ('[addresses]\npip = "x"\n[[crate]]\nname = "a"', "for github, arxiv, hub, nothing else"),
        ('[addresses]\nhub = 3\n[[crate]]\nname = "a"', "for github, arxiv, hub, nothing else"),
    ],
)
def test_a_mistake_is_one_sentence(tmp_path: Path, text: str, sentence: str):
    with pytest.raises(UserError, match=r"list\.toml") as caught:
        read(tmp_path, text)
    assert sentence in str(caught.value)


def test_no_list(tmp_path: Path):
    with pytest.raises(UserError, match="cannot be read: No such file"):
        read_watchlist(tmp_path / "none.toml")


def test_the_lists_of_the_project_stay_within_what_github_allows():
    topics = read_watchlist(ROOT / "docs" / "research_watch.toml").topics
    assert {topic.kind for topic in topics} == {"package", "crate", "repository", "paper", "family"}
    # 60 questions an hour without a token, three at most for a repository without releases
    assert 3 * sum(topic.kind == "repository" for topic in topics) <= 60
