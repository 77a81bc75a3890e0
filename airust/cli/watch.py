"""``airust watch``: what is new in packages, repositories, papers and models."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from airust.cli.common import say
from airust.types import AirustError, UserError

if TYPE_CHECKING:
    from airust.watch.ask import Outcome
    from airust.watch.known import Record
    from airust.watch.topics import Watchlist

EXAMPLE = "airust watch --only crate,package"
LIST, REPORTS = Path("docs/research_watch.toml"), Path("reports/watch")
TABLE = Path("docs/ai_rust_landscape.md")


def run(
    list_file: Annotated[Path, typer.Option("--list", help="TOML list of what is watched.")] = LIST,
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Folder of the reports and of known.json.")
    ] = REPORTS,
    table: Annotated[
        Path | None,
        typer.Option(
            help=f"Document whose table of versions is written anew; {TABLE.as_posix()} for the "
            "project's own list.",
            show_default=False,
        ),
    ] = None,
    only: Annotated[
        str | None,
        typer.Option(help="Kinds to ask for: package, crate, repository, paper, family."),
    ] = None,
    offline: Annotated[
        bool, typer.Option("--offline", help="Ask nobody; write down what is known.")
    ] = False,
) -> None:
    """Ask what is new, and write a dated report of what changed since last time.

    Packages and crates are asked for through your own pip and cargo, with your mirrors and proxies.
    Sources that do not answer are named in the report. A second run on the same day writes that
    day's report anew and forgets nothing of it.
    """
    from airust.files import write_text
    from airust.watch.answers import utc_today
    from airust.watch.known import read_known, write_known
    from airust.watch.report import write_report
    from airust.watch.table import split_document, update_table
    from airust.watch.topics import read_watchlist

    watchlist = read_watchlist(list_file)
    known = read_known(out / "known.json")
    if table is None and list_file == LIST:
        table = TABLE
    if table is not None:
        split_document(table)  # before anybody is asked
    today = utc_today().isoformat()
    outcome = _ask(watchlist, known, today, _kinds(only, offline))
    report = out / f"{today}.md"
    # known.json last: whatever stops this, the next run finds the same news again.
    write_text(report, write_report(watchlist, outcome, today))
    if table is not None:
        update_table(table, watchlist.topics, outcome.known)
    write_known(out / "known.json", outcome.known)
    typer.echo(report)
    if outcome.stopped:
        say("Stopped; what was answered until then is in the report.")
        raise KeyboardInterrupt
    _say_who_was_silent(watchlist, outcome, offline)


def _kinds(only: str | None, offline: bool) -> tuple[str, ...]:
    """The kinds of topics that are asked for.

    Raises:
        UserError: there is no such kind.
    """
    from airust.watch.topics import KINDS

    if only is None:
        return () if offline else tuple(KINDS)
    if offline:
        raise UserError("--offline asks nobody; --only does not go with it.")
    kinds = tuple(kind.strip() for kind in only.split(","))
    if wrong := [kind for kind in kinds if kind not in KINDS]:
        raise UserError(f"--only has '{wrong[0]}' but knows {', '.join(KINDS)}.")
    return kinds


def _ask(
    watchlist: Watchlist, known: dict[str, Record], today: str, kinds: tuple[str, ...]
) -> Outcome:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    from airust.watch.ask import ask_all, open_sources
    from airust.watch.topics import Topic

    columns = (TextColumn("{task.description}"), BarColumn(24), MofNCompleteColumn())
    console = Console(stderr=True)
    with (
        open_sources(watchlist.addresses) as sources,
        Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar,
    ):
        asked = [topic for topic in watchlist.topics if topic.kind in kinds]
        task = bar.add_task("", total=len(asked))

        def tell(topic: Topic, source: str) -> None:
            bar.update(task, description=f"{source}: {topic.name}"[:44].ljust(44), advance=1)

        chosen = {kind: source for kind, source in sources.items() if kind in kinds}
        return ask_all(watchlist, known, chosen, today, tell)


def _say_who_was_silent(watchlist: Watchlist, outcome: Outcome, offline: bool) -> None:
    if offline:
        say("Nobody was asked.")
    elif not outcome.answered:
        raise AirustError("No source answered; the report says why.")
    elif outcome.unanswered:
        silent = [topic.name for topic in watchlist.topics if topic.key in outcome.unanswered]
        say(
            f"No answer about {len(silent)} of {len(watchlist.topics)} topics; the report says why."
        )
