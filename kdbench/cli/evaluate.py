"""``kdbench evaluate``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kdbench.cli.apart import evaluate_apart
from kdbench.cli.app import app
from kdbench.cli.once import OnceCommand
from kdbench.cli.options import Attacks, DataDir, Device, Download, Json, Out, Tasks, names, parse_params
from kdbench.standard_output import others_on_stderr

if TYPE_CHECKING:
    from kdbench.running.evaluated import Evaluation


@app.command(cls=OnceCommand)
def evaluate(
    source: Annotated[
        str,
        typer.Argument(
            help="A file, package.module:build, or NAME:WHAT as timm:resnet18; `kdbench list model-sources` shows all."
        ),
    ],
    suite: Annotated[str | None, typer.Option(help="Suite to measure on; default: the model's own.")] = None,
    model: Annotated[str | None, typer.Option(help="Architecture of a plain state dict.")] = None,
    weights: Annotated[
        str | None, typer.Option(metavar="KEY", help="Which weights, where a checkpoint holds several, as model_ema.")
    ] = None,
    mean: Annotated[
        str | None,
        typer.Option(help="Means of the pixels that it expects: 3 numbers, or cifar10, cifar100, imagenet, none."),
    ] = None,
    std: Annotated[str | None, typer.Option(help="Deviations, likewise; a name gives both.")] = None,
    resize: Annotated[int | None, typer.Option(metavar="PIXELS", help="Side of the images that it expects.")] = None,
    classes: Annotated[
        str | None,
        typer.Option(metavar="NAMES", help="Names of its outputs in their order: a file, or with commas between."),
    ] = None,
    condition: Annotated[str | None, typer.Option(help="Condition it was trained under; ours know theirs.")] = None,
    assignments: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="NAME=VALUE",
            help="Parameter that only matters when it is measured, as evaluate=peer; repeatable.",
        ),
    ] = None,
    tasks: Tasks = None,
    attack: Attacks = None,
    examples: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, help="A fixed stratified part of so many test images; default: all."),
    ] = None,
    data_dir: DataDir = None,
    device: Device = "auto",
    out: Out = Path("runs"),
    download: Download = True,
    as_json: Json = False,
) -> None:
    """Measure a network that is trained already.

    Its record, marked as evaluated, not trained here, lies under --out.
    """
    from kdbench.files import check_writable
    from kdbench.progress import say
    from kdbench.running.evaluation import evaluate as measure
    from kdbench.sources import open_model

    check_writable(out)
    evaluate_apart(source, suite, model, names(tasks), attack)
    with others_on_stderr():
        opened = open_model(
            source,
            suite=suite,
            model=model,
            weights=weights,
            params=parse_params(assignments or []),
            mean=mean,
            std=std,
            resize=resize,
            classes=classes,
            data_dir=data_dir,
            download=download,
            progress=not as_json,
        )
        say([f"{opened.source}: {note}" for note in opened.notes])
        assert opened.suite is not None
        result = measure(
            opened.network,
            opened.suite,
            tasks=names(tasks),
            attacks=attack,
            data_dir=data_dir,
            device=device,
            out=out,
            download=download,
            condition=condition or opened.condition,
            examples=examples,
            progress=not as_json,
            origin=opened.evaluated(),
        )
    written = result.save(out)
    if as_json:
        print(json.dumps({**result.to_dict(), "record": str(written)}))
        return
    part = "" if examples is None else f", {examples:,} test images"
    _print_result(result, f"{opened.source} on {result.suite}{part}, evaluated, not trained here")
    print(written)


def _print_result(result: Evaluation, title: str) -> None:
    from kdbench.cli.tables import output, score_tables
    from kdbench.results.wording import failed_checks
    from kdbench.running.plausibility import in_words

    console = output()
    console.print(in_words(result.preprocessing), markup=False, highlight=False)
    console.print(*score_tables(result.scores, result.checks, title, result.record.spec.suite))
    for line in failed_checks(result.checks):
        console.print(line, markup=False, highlight=False)
