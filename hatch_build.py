"""Put the report notebooks into a wheel, where ``airust report`` finds them without the repository.

A hook and not ``force-include``, which would also copy them into editable installations.
"""

from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class NotebookHook(BuildHookInterface):
    """Called by hatchling before it collects files."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """``version`` is the kind of wheel: "standard" or "editable"."""
        if version == "standard":
            build_data["force_include"]["notebooks/reports"] = "airust/bench/notebooks"
