"""`costctl benchmarks`: what was measured on other GPUs, for comparisons to go by."""

from __future__ import annotations

from pathlib import Path

import click

_EPILOG = """\b
Examples:
  vllm bench serve --model Qwen/Qwen3-8B --max-concurrency 8 --save-result --result-filename l4.json
  costctl benchmarks import l4.json --gpu L4
  costctl compare --like 2026-01 --gpus L4
"""


@click.group(epilog=_EPILOG)
def benchmarks() -> None:
    """Keep results of `vllm bench serve`, so that `costctl compare` needs to estimate less.

    A benchmark that keeps about as many requests at work as your users do tells the most.
    """


@benchmarks.command("import", epilog="\b\nExamples:\n  costctl benchmarks import l4.json --gpu L4")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--gpu", required=True, metavar="NAME", help="The GPU that it was made on; the file does not say.")
@click.option("--gpu-count", type=click.IntRange(min=1), default=1, show_default=True, help="How many of them.")
@click.option("--model", metavar="NAME", help="The model, if the file calls it otherwise than the engine does.")
def import_(*, file: Path, gpu: str, gpu_count: int, model: str | None) -> None:
    """Import FILE, which `vllm bench serve --save-result` wrote."""
    from costctl.wiring import benchmarks as wiring

    number, benchmark = wiring.import_benchmark(file, gpu=gpu, gpu_count=gpu_count, model=model)
    click.echo(f"benchmark {number}: {benchmark.model} on {benchmark.gpu_count} x {benchmark.gpu}")


@benchmarks.command("list", epilog="\b\nExamples:\n  costctl benchmarks list")
def list_() -> None:
    """List the benchmarks, with the tokens that were written in a second."""
    from costctl.reports.printing import console_for, print_table
    from costctl.wiring import benchmarks as wiring

    headings = (">number", "<model", "GPU", ">at once", ">tokens/s", "measured", "source")
    rows = [
        [
            str(one.id),
            one.model,
            f"{one.gpu_count} x {one.gpu}",
            "all" if one.concurrency is None else str(one.concurrency),
            f"{one.traffic.generation_tokens / one.busy.total_seconds():.1f}",
            f"{one.measured_at:%Y-%m-%d}",
            one.source,
        ]
        for one in wiring.all_benchmarks()
    ]
    if rows:
        print_table(console_for(), headings, rows)
    else:
        click.echo("no benchmarks; import one with `costctl benchmarks import`")


@benchmarks.command(epilog="\b\nExamples:\n  costctl benchmarks remove 3")
@click.argument("number", type=int)
def remove(*, number: int) -> None:
    """Take a benchmark away by its number."""
    from costctl.wiring import benchmarks as wiring

    gone = wiring.remove_benchmark(number)
    click.echo(f"removed benchmark {number}: {gone.model} on {gone.gpu_count} x {gone.gpu}")
