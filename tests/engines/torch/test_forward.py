"""The fast forward pass against the readable one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from airust.engines.torch import compiled, forward, kernels, linear
from airust.engines.torch.forward import FastGPT
from airust.engines.torch.graphs import pad, padded_size
from airust.engines.torch.slots import SlotCache
from airust.engines.torch.steps import Step, Work, plan
from airust.gpt.config import GPTConfig
from airust.gpt.model import GPT

SHAPES: dict[str, dict[str, Any]] = {
    "multi-head": {"heads": 4, "kv_heads": 4, "head_dim": 8},
    "grouped": {"heads": 6, "kv_heads": 2, "head_dim": 8},
    "one kv head": {"heads": 3, "kv_heads": 1, "head_dim": 6},
    "odd sizes": {"hidden_size": 33, "heads": 5, "kv_heads": 5, "head_dim": 10, "ffn_size": 47},
    "qwen2": {"heads": 4, "kv_heads": 2, "head_dim": 8, "qk_norm": False, "qkv_bias": True},
    "biases everywhere": {
        "heads": 4, "kv_heads": 2, "head_dim": 8, "qkv_bias": True, "out_bias": True,
    },
    "llama, untied": {
        "heads": 2, "kv_heads": 2, "head_dim": 16, "qk_norm": False, "tie_embeddings": False,
    },
}  # fmt: skip
LENGTH = 24
WAYS = ("compiled", "by operations", "as on a GPU")


def random_model(**changes: Any) -> GPT:
    sizes = {"vocab_size": 131, "hidden_size": 32, "layers": 3, "ffn_size": 40, "context": 32}
    model = GPT(GPTConfig(**sizes | changes))
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weight in model.parameters():
            weight.normal_(1.0 if weight.dim() == 1 else 0.0, 0.15, generator=generator)
    return model.eval()


def random_ids(rows: int) -> Tensor:
    return torch.randint(0, 131, (rows, LENGTH), generator=torch.Generator().manual_seed(2))


class Ragged:
    """Runs sequences through the fast model in given portions and collects their logits."""

    def __init__(
        self,
        model: GPT,
        slots: list[int],
        dtype: torch.dtype = torch.float32,
        threads: int = 1,
        way: str = WAYS[0],
    ) -> None:
        if way == "compiled":
            self.model = FastGPT(model, dtype)
        else:
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(compiled, "takes_all", lambda dtype: False)
                patch.setattr(forward, "takes_all", lambda dtype: False)
                self.model = FastGPT(model, dtype)
            self.model.compiled = None
        for layer in self.model.layers:
            layer.on_cpu = way != "as on a GPU"
        self.threads = threads
        self.cache = SlotCache(model.config, slots=max(slots) + 1)
        self.slots = slots
        self.ids = random_ids(len(slots))
        self.done = [0] * len(slots)
        self.logits = torch.full((len(slots), LENGTH, 131), torch.nan)

    def step(self, portions: list[int]) -> None:
        rows = [i for i, portion in enumerate(portions) if portion]
        works = [
            Work(
                self.slots[i],
                self.done[i],
                self.ids[i, self.done[i] : self.done[i] + portions[i]].tolist(),
                wanted=True,
            )
            for i in rows
        ]
        step, asked = plan(works, self.cache)
        before = torch.get_num_threads()
        torch.set_num_threads(self.threads)
        logits = self.model.forward(step, self.cache)
        torch.set_num_threads(before)
        for row, number in enumerate(asked):
            i = rows[number]
            self.done[i] += portions[i]
            self.logits[i, self.done[i] - 1] = logits[row]

    def check(self, expected: Tensor, atol: float) -> None:
        computed = ~self.logits.isnan().any(-1)
        assert int(computed.sum()) >= LENGTH
        torch.testing.assert_close(self.logits[computed], expected[computed], atol=atol, rtol=0)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("threads", [1, 2])
@torch.inference_mode()
def test_one_token_at_a_time(shape: str, way: str, threads: int) -> None:
    model = random_model(**SHAPES[shape])
    run = Ragged(model, [0], threads=threads, way=way)
    for _ in range(LENGTH):
        run.step([1])
    run.check(model(run.ids), 1e-5)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("way", WAYS)
@torch.inference_mode()
def test_ragged_batches(shape: str, way: str) -> None:
    """Slots with gaps, unlike lengths, chunks of prompts between single tokens, pauses."""
    model = random_model(**SHAPES[shape])
    run = Ragged(model, [5, 0, 1, 3], way=way)
    run.step([7, 1, 0, 0])
    run.step([1, 1, 12, 0])
    run.step([2, 1, 1, 5])
    run.step([1, 0, 3, 1])
    while min(run.done) < LENGTH:
        run.step([min(1, LENGTH - done) for done in run.done])
    run.check(model(run.ids), 1e-5)


@pytest.mark.parametrize("threads", [2, 3, 5])
@pytest.mark.parametrize("way", WAYS)
@torch.inference_mode()
def test_shared_by_threads(threads: int, way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forward, "WORTH_SHARING", 1)
    model = random_model(**SHAPES["grouped"])
    run = Ragged(model, [3, 0, 1, 2, 7], threads=threads, way=way)
    run.step([9, 1, 4, 2, 1])
    run.step([1, 3, 1, 2, 1])  # three sequences, and a prompt's rows behind them
    while min(run.done) < LENGTH:
        run.step([min(1, LENGTH - done) for done in run.done])
    run.check(model(run.ids), 1e-5)


@pytest.mark.parametrize("shape", SHAPES)
@torch.inference_mode()
@pytest.mark.parametrize("packed", [True, False])
def test_with_the_products_of_a_library(
    shape: str, packed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where vectors are short: two copies of the weights, one for few sequences."""
    monkeypatch.setattr(compiled, "LANES", 4)
    if not packed:
        monkeypatch.setattr(linear, "can_pack", lambda dtype: False)
    model = random_model(**SHAPES[shape])
    run = Ragged(model, [0, 1])
    run.step([5, 1])
    while min(run.done) < LENGTH:
        run.step([min(1, LENGTH - done) for done in run.done])
    run.check(model(run.ids), 1e-5)


@pytest.mark.parametrize("rows", [*range(1, compiled.FEW + 2), 67])
@torch.inference_mode()
def test_many_sequences(rows: int) -> None:
    model = random_model(**SHAPES["grouped"])
    run = Ragged(model, list(range(rows)), threads=2)
    for _ in range(LENGTH):
        run.step([1] * rows)
    run.check(model(run.ids), 1e-5)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("rows", [2, 3, 4])
@torch.inference_mode()
def test_a_step_as_a_gpu_computes_it(
    shape: str, rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tensor operations of a recorded step, here on the CPU: padded, with fixed shapes."""
    model = random_model(**SHAPES[shape])
    run = Ragged(model, list(range(rows)), way=WAYS[-1])
    for portions in ([5, 1, 2, 3], [1, 4, 1, 1]):
        run.step(portions[:rows])
    forward = run.model.forward

    def padded(step: Step, cache: SlotCache) -> Tensor:
        wide = pad(step, padded_size(len(step.tokens)), cache.capacity)
        return forward(wide, cache)[: len(step.tokens)]

    monkeypatch.setattr(run.model, "forward", padded)
    while min(run.done) < LENGTH:
        run.step([min(1, LENGTH - done) for done in run.done])
    run.check(model(run.ids), 1e-5)


@torch.inference_mode()
def test_a_model_too_large_for_a_second_copy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled, "LARGEST", 1000)
    model = random_model()
    run = Ragged(model, [0], torch.bfloat16)
    assert run.model.compiled is None
    for _ in range(LENGTH):
        run.step([1])
    expected = model(run.ids)
    run.check(expected, 0.05 * float(expected.std()))


@pytest.mark.parametrize("shape", ["grouped", "qwen2", "biases everywhere"])
@pytest.mark.parametrize("rows", [1, 2, 6])
@pytest.mark.parametrize("lanes", [4, 16])
@torch.inference_mode()
def test_int8_is_near(shape: str, rows: int, lanes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled, "LANES", lanes)
    model = random_model(**SHAPES[shape])
    run = Ragged(model, list(range(rows)), torch.int8)
    run.step([3 if rows == 6 else 1] * rows)
    while min(run.done) < LENGTH:
        run.step([1] * rows)
    exact = model(run.ids)
    run.check(exact, 0.2 * float(exact.std()))
    assert (run.logits[:, -1] - exact[:, -1]).abs().max() > 1e-4  # they are rounded


@torch.inference_mode()
def test_a_damaged_weight_shows_in_the_logits() -> None:
    model = random_model()
    model.layers[1].mlp.up_proj.weight[3, 3] = torch.nan  # type: ignore[union-attr,index]
    for way in WAYS:
        run = Ragged(model, [0], way=way)
        run.step([1])
        assert run.logits[0, 0].isnan().all()


@pytest.mark.parametrize("packed", [True, False])
@torch.inference_mode()
def test_bfloat16_is_near(packed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not packed:
        monkeypatch.setattr(linear, "can_pack", lambda dtype: False)
    model = random_model()
    expected = model(random_ids(2))
    run = Ragged(model, [0, 1], torch.bfloat16)
    run.step([9, 1])
    while min(run.done) < LENGTH:
        run.step([min(1, LENGTH - done) for done in run.done])
    run.check(expected, 0.05 * float(expected.std()))


@torch.inference_mode()
def test_all_logits_and_none() -> None:
    model = random_model()
    fast, cache = FastGPT(model), SlotCache(model.config)
    ids = random_ids(1)
    step, asked = plan([Work(2, 0, ids[0].tolist(), wanted=False)], cache)
    assert (asked, fast.forward(step, cache).shape) == ([], (0, 131))
    logits = fast.forward(replace(step, outputs=None), cache)
    torch.testing.assert_close(logits, model(ids)[0], atol=1e-5, rtol=0)


@torch.inference_mode()
def test_a_damaged_slot_spoils_no_other() -> None:
    """Also not one whose masked positions lie where the NaN was, after it has been erased."""
    model = random_model()
    run = Ragged(model, [0, 1])
    run.cache.table[:, :, 1] = torch.nan
    run.cache.erase(1)
    run.step([9, 3])
    while min(run.done) < LENGTH:
        run.step([min(1, LENGTH - done) for done in run.done])
    run.check(model(run.ids), 1e-5)


@pytest.mark.parametrize("size", [(7, 5), (900, 700)], ids=["small", "large"])
@pytest.mark.parametrize("rows", [1, 2, 17])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.int8])
@torch.inference_mode()
def test_linear(size: tuple[int, int], rows: int, bias: bool, dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(size, generator=generator)
    added = torch.randn(size[0], generator=generator) if bias else None
    x = torch.randn(rows, size[1], generator=generator)
    y = linear.Linear(weight, added, dtype)(x)
    assert y.dtype == torch.float32
    exact = x.double() @ weight.double().T + (0 if added is None else added)
    error = 1e-4 if dtype == torch.float32 else 0.02 * float(exact.abs().max())
    torch.testing.assert_close(y.double(), exact, atol=error, rtol=0)


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("head_dim", [8, 40, 64])
@torch.inference_mode()
def test_long_prompts_in_blocks(
    head_dim: int, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Blocks of rows that begin anywhere, before and after what the cache holds."""
    monkeypatch.setattr(kernels, "QUERIES", 13)
    model = random_model(head_dim=head_dim, heads=4, kv_heads=2, context=200)
    ids = torch.randint(0, 131, (2, 150), generator=torch.Generator().manual_seed(3))
    fast, cache = FastGPT(model), SlotCache(model.config, slots=2)
    expected = model(ids)
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    for start, end in ((0, 70), (70, 71), (71, 111), (111, 150)):
        works = [Work(i, start, ids[i, start:end].tolist(), wanted=False) for i in range(2)]
        step = replace(plan(works, cache)[0], outputs=None)
        logits = fast.forward(step, cache).view(2, end - start, -1)
        torch.testing.assert_close(logits, expected[:, start:end], atol=2e-5, rtol=0)
