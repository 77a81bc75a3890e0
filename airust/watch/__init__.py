"""The research watch: what is new in packages, repositories, papers and models?

A TOML list says what is watched (``topics``). Each source is asked in its own way: the package
registries through the clients that the user has set up (``pip``, ``cargo``), so that mirrors,
proxies and credentials are theirs; GitHub, arXiv and the Hugging Face hub over HTTP with a cache,
conditional requests and pauses (``http``). What they answer is compared with what was known
(``known``) and written down as a dated report (``report``) and a table in a document (``table``).

A source that does not answer is named with its reason, and what it said last time stands with its
date. Nothing is filled in.
"""
