"""What the parity check asks: questions and raw text, in English and Chinese."""

from __future__ import annotations

from dataclasses import replace

from airust.gpt.tokenizer import Tokenizer
from airust.types import Message, Request

QUESTIONS = (
    "What is the capital of France?",
    "Why does water flow downhill?",
    "How does the sun shine?",
    "What is ownership in Rust?",
    "Who wrote the first compiler, and when?",
    "Explain attention in one sentence.",
    "Which river is the longest in Asia?",
    "Hello! Who are you?",
    "法国的首都是哪里？",
    "水为什么往低处流？",
    "太阳为什么发光？",
    "Rust 的所有权是什么？",
    "请用一句话解释注意力机制。",
    "亚洲最长的河是哪一条？",
)
TEXTS = (
    "The capital of Japan is",
    "Rain falls when drops in a cloud grow too heavy",
    "fn main() {\n    let numbers = vec![1, 2, 3];\n",
    "In 1969, two people walked on the Moon",
    "a b c d e f g",
    "山上的空气比山下",
    "日本的首都是",
    "编译器把源代码",
    "“你好”，他说：",
    "3 + 4 = 7, 5 + 6 =",
)
CONVERSATION = (
    Message("user", "What is the capital of France?"),
    Message("assistant", "The capital of France is Paris."),
    Message("user", "And its currency?"),
)


def built_in_requests() -> list[Request]:
    """The 25 built-in prompts."""
    asked = [Request(messages=(Message("user", question),)) for question in QUESTIONS]
    return [*asked, *(Request(prompt=text) for text in TEXTS), Request(messages=CONVERSATION)]


def fitted_ids(request: Request, tokenizer: Tokenizer, room: int) -> list[int]:
    """The request's token ids; its text is shortened from the end until they fit into ``room``.

    Text is cut, not ids: an engine that takes prompts as text has to get the same ids from it.
    """
    while len(ids := _ids(request, tokenizer)) > room:
        if request.token_ids is not None:
            return ids[:room]
        request = _shorter(request)
    return ids


def _ids(request: Request, tokenizer: Tokenizer) -> list[int]:
    if request.messages is not None:
        return tokenizer.encode_chat(request.messages)
    return list(request.token_ids or ()) or tokenizer.encode(request.prompt or "")


def _shorter(request: Request) -> Request:
    if request.messages is None:
        return replace(request, prompt=(request.prompt or "")[:-1])
    if len(request.messages) > 1:
        return replace(request, messages=request.messages[-1:])
    message = request.messages[0]
    if not message.content:  # a tiny context; raw text needs no frame
        return Request(prompt="Hello")
    return replace(request, messages=(replace(message, content=message.content[:-1]),))
