"""A widget with a still picture beside it, which a saved notebook shows without a kernel.

A live widget is drawn by JavaScript from the state of a running kernel. A notebook that is read
on GitHub, printed or opened on another machine has neither. So displaying one of these widgets
makes two outputs: the widget, and the still, an HTML piece with an alternative text. The still
is replaced whenever the state changes, and where the widget itself is drawn it is hidden.
"""

from __future__ import annotations

import base64
import html
import io
import threading
import uuid
import warnings
from typing import TYPE_CHECKING, Any

import anywidget
import traitlets
from IPython.core.getipython import get_ipython
from IPython.display import display, update_display

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class StillWidget(anywidget.AnyWidget):
    """Base of airust's widgets. Subclasses give ``_esm``, ``_css``, and ``still``."""

    _still = traitlets.Unicode().tag(sync=True)  # the class name of its still pictures

    def __init__(self, **values: Any) -> None:
        super().__init__(_still=f"airust-still-{uuid.uuid4().hex[:12]}", **values)
        self._shown = False
        self._refresh: threading.Timer | None = None

    @traitlets.observe("comm")
    def _hear_beside_cells(self, change: dict[str, Any]) -> None:
        """Let the front end choose the subshell that hears it.

        JupyterLab and Notebook 7 send comm messages to a subshell, a thread beside the cells.
        ipykernel 7.4 sends them where the comm was written to last: for what a cell or a thread
        has written that is the main shell, which is deaf while a cell runs.
        """
        if change["new"] is not None:
            change["new"]._reply_subshell_for = lambda data, chosen: chosen

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"  # no address: notebooks with outputs are compared

    def still(self) -> tuple[str, str]:
        """The present state as HTML and as plain text."""
        raise NotImplementedError

    def refresh_still(self, after_s: float = 0.0) -> None:
        """Replace the still in the notebook, if the widget has been displayed there.

        Args:
            after_s: wait until so long nobody has asked again; a slider asks often.
        """
        if self._refresh is not None:
            self._refresh.cancel()
            self._refresh = None
        if not self._shown or get_ipython() is None:
            return
        if after_s:
            self._refresh = threading.Timer(after_s, self.refresh_still)
            self._refresh.daemon = True
            self._refresh.start()
            return
        update_display(self._still_bundle(), raw=True, display_id=self._still)

    def _still_bundle(self) -> dict[str, str]:
        markup, text = self.still()
        return {
            "text/html": f'<div class="{self._still}">{markup}</div>',
            "text/plain": text,
        }

    def _ipython_display_(self) -> None:
        bundle, _ = self._repr_mimebundle_() or ({}, {})
        display(bundle, raw=True)
        self._shown = True
        display(self._still_bundle(), raw=True, display_id=self._still)


def picture(figure: Figure, alt: str) -> str:
    """A figure as an HTML image with its alternative text."""
    buffer = io.BytesIO()
    with warnings.catch_warnings():  # a character that no font has is drawn as a box
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        figure.savefig(buffer, format="png", facecolor="white")
    data = base64.b64encode(buffer.getvalue()).decode()
    return (
        f'<img alt="{html.escape(alt)}" style="max-width: 100%" src="data:image/png;base64,{data}">'
    )
