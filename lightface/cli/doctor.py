"""`lightface doctor`: find out what is wrong with an installation, and how to mend it."""

from __future__ import annotations

from dataclasses import replace

import typer

from lightface.cli.console import note
from lightface.cli.options import Json, with_settings
from lightface.cli.program import name_flags
from lightface.cli.results import print_json, print_line
from lightface.cli.settings import Settings
from lightface.words import count_of


@with_settings("model", "device", "gallery")
def doctor(settings: Settings, *, as_json: Json = False) -> None:
    """Check versions, device, weights, detector, embeddings and gallery. Exit code 2 when something is wrong."""
    from lightface.doctor import Health, check_installation

    checks = []
    for found in check_installation(**settings.given("model", "device", "gallery")):
        check = replace(found, detail=name_flags(found.detail), remedy=name_flags(found.remedy))
        checks.append(check)
        if not as_json:
            print_line(f"{check.health:<6}{check.name}: {check.detail}")
            if check.remedy:
                print_line(f"{'':<6}-> {check.remedy}")
    if as_json:
        print_json(checks)
    faults = sum(check.health is Health.FAULT for check in checks)
    if faults:
        note(f"{faults} of {count_of(len(checks), 'check')} failed")
        raise typer.Exit(2)
    note("all is well")
