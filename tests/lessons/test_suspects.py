"""Engines with and without bugs: they are what they are said to be, seen from outside."""

from __future__ import annotations

import pytest
import torch

from airust.lessons.suspects import CONFIG, Suspect, checkpoint, lineup, trial

IDS = [(7 * i) % CONFIG.vocab_size for i in range(CONFIG.context)]
PIECES = [CONFIG.context // 2] + [1] * (CONFIG.context // 2)


def farthest(suspect: Suspect) -> tuple[float, float]:
    """The largest |delta logprob|, in one piece and as an engine decodes."""
    true = Suspect(checkpoint()).logprobs(IDS)
    return tuple(float((suspect.logprobs(IDS, s) - true).abs().max()) for s in ((), PIECES))


def test_the_honest_are_off_by_rounding_and_the_guilty_by_more():
    honest, guilty = trial()
    for name, suspect in honest.items():
        assert max(farthest(suspect)) < 1e-4, name
    for name, suspect in guilty.items():
        assert max(farthest(suspect)) > 1e-2, name


def test_one_bug_shows_only_while_decoding():
    _, guilty = trial()
    whole, decoded = farthest(guilty["positions that are one late while decoding"])
    assert whole < 1e-4 < decoded


def test_the_lineup_has_two_innocents_and_is_the_same_every_time():
    suspects, truth = lineup()
    assert sorted(truth.values()) == ["base", "late", "no bug", "no bug", "pairs", "stretched"]
    assert lineup()[1] == truth
    for letter, suspect in suspects.items():
        assert (max(farthest(suspect)) < 1e-4) == (truth[letter] == "no bug")


@pytest.mark.parametrize("sizes", [(2,), (4, -1), (2, 0, 1)])
def test_pieces_have_to_make_up_the_text(sizes):
    with pytest.raises(ValueError, match="pieces"):
        Suspect(checkpoint()).logprobs(IDS[:3], sizes)


def test_logprobs_are_logprobs():
    found = Suspect(checkpoint()).logprobs(IDS[:5], (2, 3))
    assert found.shape == (5, CONFIG.vocab_size)
    assert torch.allclose(found.exp().sum(-1), torch.ones(5, dtype=torch.float64))
