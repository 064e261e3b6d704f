"""The options that measurements share."""

from __future__ import annotations

from typing import Annotated

import typer

OnCpu = Annotated[
    int | None,
    typer.Option(
        "--on-cpu", metavar="N", min=0, help="The CPU to measure on.  [default: where it runs]", show_default=False
    ),
]
Seed = Annotated[int, typer.Option("--seed", metavar="N", min=0, help="For the random choices.")]
