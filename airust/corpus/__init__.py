"""The embedded corpus: facts, explanations and small talk in English and Chinese.

Everything that is said stands in data files that a person can extend without code:
``facts/KIND.csv`` (entities, one a row) with ``facts/KIND.toml`` (relations, templates),
``explanations/*.toml`` and ``dialogue.toml``. This package reads them (``facts``,
``explanations``), makes training documents (``documents``, ``fiction``) and sets the exam
(``exam``). Standard library only.
"""
