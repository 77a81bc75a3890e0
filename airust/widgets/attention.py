"""``AttentionView``: where the heads of a small GPT look, and what each layer would say next.

    view = airust.AttentionView("runs/tiny", "The capital of France is")
    view

The text can be changed in the widget or by ``view.text = ...``; layer, head and position are
traits, so sliders of ipywidgets can be linked to them. What is shown comes from
``airust.gpt.lens``: the model's own attention weights, and the logit lens.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import traitlets

from airust.engines.model_files import find_model
from airust.gpt.checkpoint import load_model
from airust.gpt.lens import Inside, look
from airust.gpt.model import GPT
from airust.gpt.run import Run
from airust.gpt.tokenizer import BYTE, Tokenizer
from airust.types import Message, UserError
from airust.widgets import bundle
from airust.widgets.attention_figure import describe, draw
from airust.widgets.still import StillWidget, picture

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

MOST_TOKENS = 128  # maps grow with its square
TOP = 5  # tokens told of each layer and position
# How byte-level vocabularies spell bytes: printable Latin-1 as itself, the rest from U+0100 on.
_PRINTABLE = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
_OTHERS = [byte for byte in range(256) if byte not in _PRINTABLE]
BYTES = {chr(b): b for b in _PRINTABLE} | {chr(256 + i): b for i, b in enumerate(_OTHERS)}
NAMED = {"\n": "⏎", "\t": "⇥", " ": "␣"}  # what a token that is nothing else looks like


class AttentionView(StillWidget):
    """Attention maps of all layers and heads over a text, and the logit lens.

    Args:
        model: a model folder or hub name of the families that ``airust.gpt`` reads, or a
            ``Run`` of ``prepare()``, or a ``GPT`` together with its ``tokenizer``.
        text: what the model reads.
        chat: the text is a question, which the model reads in its chat form.

    Raises:
        UserError: the model cannot be read, or the text has no tokens or too many.
    """

    _esm = bundle.esm(bundle.STATIC / "attention.js")
    _css = (bundle.STATIC / "attention.css").read_text("utf-8")

    text = traitlets.Unicode().tag(sync=True)
    chat = traitlets.Bool(False).tag(sync=True)  # the text is a question, in the model's chat form
    layer = traitlets.Int(0).tag(sync=True)  # 0 is the first block
    head = traitlets.Int(0).tag(sync=True)
    position = traitlets.Int(0).tag(sync=True)  # the token that looks
    message = traitlets.Unicode().tag(sync=True)  # why a text that was typed is not shown
    _can_chat = traitlets.Bool(False).tag(sync=True)
    _tokens: traitlets.List[Any] = traitlets.List().tag(sync=True)
    _shape = traitlets.List([0, 0, 0]).tag(sync=True)  # layers, heads, tokens
    _weights = traitlets.Bytes().tag(sync=True)  # (L, H, T, T), 255 is 1
    # [layer][position] -> [[token, probability], ...], and -> the probability of what follows
    _lens: traitlets.List[Any] = traitlets.List().tag(sync=True)
    _right: traitlets.List[Any] = traitlets.List().tag(sync=True)

    def __init__(
        self,
        model: str | Path | GPT | Run,
        text: str,
        *,
        chat: bool = False,
        tokenizer: Tokenizer | None = None,
    ) -> None:
        self._model, self._tokenizer = _loaded(model, tokenizer)
        values = self._look(text, chat)
        layers, _, T = values["_shape"]
        super().__init__(
            text=text,
            chat=chat,
            layer=layers - 1,
            position=T - 1,
            _can_chat=self._tokenizer.has_chat_form,
            **values,
        )
        self.observe(self._reread, ["text", "chat"])
        self.observe(lambda _: self.refresh_still(after_s=1.0), ["layer", "head", "_tokens"])

    @property
    def inside(self) -> Inside:
        """The pass that is shown, as tensors."""
        return self._inside

    @property
    def tokens(self) -> list[str]:
        """The text's tokens as they are written in the widget."""
        return list(self._tokens)

    @property
    def frame(self) -> pd.DataFrame:
        """The logit lens: a row for each layer (0 is the embedding), position and rank."""
        import pandas as pd

        rows = [
            (layer, position, self._tokens[position], rank, token, probability)
            for layer, positions in enumerate(self._lens)
            for position, top in enumerate(positions)
            for rank, (token, probability) in enumerate(top)
        ]
        columns = ["layer", "position", "token", "rank", "prediction", "probability"]
        return pd.DataFrame(rows, columns=columns)

    def figure(self) -> Figure:
        """All heads and the end of the logit lens as a matplotlib figure."""
        return draw(self._inside.attention, self._tokens, self._lens, (self.layer, self.head))

    def still(self) -> tuple[str, str]:
        """The figure with its description."""
        text = describe(self._inside.attention, self._tokens, self._lens)
        return picture(self.figure(), text), text

    @traitlets.validate("layer", "head", "position")
    def _inside_bounds(self, proposal: Any) -> int:
        layers, heads, tokens = self._shape
        most = {"layer": layers, "head": heads, "position": tokens}[proposal.trait.name]
        return max(0, min(int(proposal.value), most - 1)) if most else int(proposal.value)

    def _reread(self, _: object) -> None:
        try:
            values = self._look(self.text, self.chat)
        except UserError as error:
            self.message = str(error)
            return
        with self.hold_sync():
            self.message = ""
            for name, value in values.items():
                setattr(self, name, value)
            self.position = values["_shape"][2] - 1

    def _look(self, text: str, chat: bool) -> dict[str, Any]:
        """Traits for a text; remembers the pass."""
        tokenizer = self._tokenizer
        ids = tokenizer.encode_chat([Message("user", text)]) if chat else tokenizer.encode(text)
        if len(ids) > MOST_TOKENS:
            raise UserError(
                f"The text has {len(ids)} tokens, but {MOST_TOKENS} are the most that fit here."
            )
        inside = look(self._model, ids)
        self._inside = inside
        probabilities = inside.logprobs.exp()  # (L + 1, T, V)
        top = probabilities.topk(TOP, dim=-1)
        lens = [
            [
                [[self._name(i), round(p, 4)] for i, p in zip(ids_, ps, strict=True)]
                for ids_, ps in zip(layer_ids, layer_ps, strict=True)
            ]
            for layer_ids, layer_ps in zip(top.indices.tolist(), top.values.tolist(), strict=True)
        ]
        following = [*ids[1:], None]
        right = [
            [None if i is None else round(float(row[t, i]), 4) for t, i in enumerate(following)]
            for row in probabilities
        ]
        layers, heads, T, _ = inside.attention.shape
        return {
            "_tokens": [self._name(i) for i in ids],
            "_shape": [layers, heads, T],
            "_weights": (inside.attention * 255).round().byte().cpu().numpy().tobytes(),
            "_lens": lens,
            "_right": right,
        }

    def _name(self, token_id: int) -> str:
        """How a token is written: blanks visible, a part of a character as its bytes."""
        text = self._tokenizer.decode([token_id], skip_special=False)
        if "\ufffd" in text or not text:
            return _bytes(str(self._tokenizer.backend.id_to_token(token_id)))
        return "".join(NAMED.get(c, c) for c in text) if text.isspace() else text.strip("\n\t")


def _bytes(token: str) -> str:
    """A token of a byte-level vocabulary as hexadecimal bytes, another as it is.

    >>> _bytes("æ°"), _bytes("<0xE6>")
    ('‹E6 B0›', '<0xE6>')
    """
    if BYTE.fullmatch(token) or not set(token) <= set(BYTES):
        return token
    return f"‹{' '.join(f'{BYTES[c]:02X}' for c in token)}›"


def _loaded(model: str | Path | GPT | Run, tokenizer: Tokenizer | None) -> tuple[GPT, Tokenizer]:
    if isinstance(model, Run):
        return model.trainer.model, tokenizer or model.tokenizer
    if isinstance(model, GPT):
        if tokenizer is None:
            raise UserError("A GPT needs its tokenizer: AttentionView(model, text, tokenizer=...).")
        return model, tokenizer
    folder = find_model(model)
    return load_model(folder), tokenizer or Tokenizer.load(folder)
