"""What a comparison of GPUs rests on, in words."""

from __future__ import annotations

from collections import defaultdict
from fractions import Fraction
from typing import TYPE_CHECKING

from costctl.domain.fit import MEMORY_SHARE, Caveat, caveats
from costctl.domain.offers import Market
from costctl.domain.roofline import BANDWIDTH_EFFICIENCY, COMPUTE_EFFICIENCY, STEP_OVERHEAD_S
from costctl.domain.speed import Basis, Ground, Speed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from costctl.domain.comparison import Comparison, Part, Row
    from costctl.domain.workload import Measure, Plan
    from costctl.reports.wording import Wording


def assumptions(found: Comparison, words: Wording) -> Iterator[str]:
    """Yield what the hours rest on: GPU by GPU, then what all have in common."""
    gpus_by_words: defaultdict[str, list[str]] = defaultdict(list)
    for on in found.gpus:
        for part in on.parts:
            if part.load.busy is None or part.load.busy:
                gpus_by_words[assumption(part, words)].append(on.gpu.name)
    yield from (f"{', '.join(gpus)}: {text}" for text, gpus in gpus_by_words.items())
    if any(part.speed.ground.basis is Basis.ESTIMATED for on in found.gpus for part in on.parts):
        yield _roofline(words)
    if found.workload.plan is not None:
        yield from _plan(found.workload.plan, words)
    if any(load.carried_over for load in found.workload.loads):
        yield words.say("Loading, idle tails and all other time are taken to be the same on every GPU.")
    if any(part.fit for on in found.gpus for part in on.parts):
        yield words.say(
            "Memory: vLLM may take {share} of what CUDA reports; weights and KV cache are computed from the model's "
            "configuration, the overhead (context, activations, graphs) is a usual one. vLLM's log has the last word.",
            share=words.share(Fraction(MEMORY_SHARE), 0),
        )
    if any(row.market is Market.SPOT for row in found.rows):
        yield words.say("Spot machines can be taken away at any time; what that costs is not in these figures.")


def assumption(part: Part, words: Wording) -> str:
    """Return in words what the hours of a load on a GPU rest on."""
    model = part.load.model or words.say("the work")
    match part.speed.ground:
        case Ground.OWN:
            return words.say("measured: {model} ran on it.", model=model)
        case Ground.LEDGER:
            return _by_ledger(part.speed, model, words)
        case Ground.BENCHMARK:
            return _by_benchmark(part, model, words)
        case Ground.ROOFLINE:
            return words.say(
                "estimated by roofline for {model}; requests at work at once: {number}.",
                model=model,
                number=_at_once(part.speed, words),
            )
        case Ground.GIVEN:
            return words.say("the hours are as given, on every GPU the same.")
        case Ground.NO_TRAFFIC:
            return words.say("no tokens of {model} were counted, so the hours stay as they were.", model=model)
        case Ground.UNKNOWN_GPU:
            return words.say(
                "{model} ran on a GPU of which no facts are known, so the hours stay as they were.", model=model
            )
        case Ground.UNKNOWN_MODEL:
            return words.say("the speed of {model} is not known, so the hours stay as they are.", model=model)


def remarks(found: Comparison, words: Wording) -> Iterator[str]:
    """Yield what should be known before renting one of these GPUs."""
    for name in sorted(
        {part.load.model for on in found.gpus for part in on.parts if part.load.model and not part.model}
    ):
        yield words.say(
            "{model} is not known here, so neither is whether it fits: name the folder of its files instead. Its speed "
            "can be measured with `vllm bench serve` and imported with `costctl benchmarks import`.",
            model=name,
        )
    for on in found.gpus:
        if on.flags:
            yield words.say("{gpu}: vLLM needs `{flags}`.", gpu=on.gpu.name, flags=" ".join(on.flags))
        models = {part.model.name: part.model for part in on.parts if part.model}
        for caveat in dict.fromkeys(one for model in models.values() or (None,) for one in caveats(on.gpu, model)):
            yield f"{on.gpu.name}: {_caveat(caveat, words)}"
    for row in found.rows:
        yield from _row_remarks(row, words)


def _row_remarks(row: Row, words: Wording) -> Iterator[str]:
    name = f"{row.on.gpu.name} {row.market}"
    if row.price is None:
        yield words.say("{name}: no price is known; set one with `costctl prices set`.", name=name)
    if row.offer and row.offer.gpu_count > 1:
        yield words.say(
            "{name}: only machines with {count} GPUs are offered; the price is the share of one.",
            name=name,
            count=row.offer.gpu_count,
        )
    if row.is_overfull:
        yield words.say("{name}: the work does not get done in the time; it needs more than one GPU.", name=name)


def _by_ledger(speed: Speed, model: str, words: Wording) -> str:
    assert speed.measure is not None  # noqa: S101 - that is its ground
    return words.say(
        "measured: by the pace of {model} in {busy} of work on it, up to {day}, in this ledger.",
        model=model,
        busy=words.length(speed.measure.busy),
        day=_day(speed.measure),
    )


def _by_benchmark(part: Part, model: str, words: Wording) -> str:
    measure = part.speed.measure
    assert measure is not None  # noqa: S101 - that is its ground
    at_once = measure.concurrency
    during = words.say("as many as it takes") if at_once is None else words.number(at_once)
    facts = {"model": model, "day": _day(measure), "during": during}
    if part.model is None:
        return words.say(
            "measured: by the pace of {model} in a benchmark of {day} at saturation ({during} requests at once): "
            "people seldom keep a GPU so full, so expect more hours.",
            **facts,
        )
    return words.say(
        "measured: by a benchmark of {model} of {day} at saturation ({during} requests at once), carried over by "
        "roofline to {number} at once.",
        number=_at_once(part.speed, words),
        **facts,
    )


def _plan(plan: Plan, words: Wording) -> Iterator[str]:
    if plan.requests_per_day:
        yield words.say(
            "Assumed: {requests} requests a day of {prompt} tokens read and {output} written.",
            requests=words.number(plan.requests_per_day),
            prompt=words.number(plan.prompt_tokens),
            output=words.number(plan.output_tokens),
        )
    if plan.hours is None:
        yield words.say(
            "Assumed: {number} at work at once; starts a day: {starts}, each with {start} of loading and {idle} of "
            "idleness at the end.",
            number=words.count("{number} request", "{number} requests", plan.at_once),
            starts=words.number(plan.starts_per_day),
            start=words.length(plan.start_length),
            idle=words.length(plan.idle_window),
        )


def _at_once(speed: Speed, words: Wording) -> str:
    number = round(speed.concurrency or 1, 1)
    return words.number(Fraction(number), 0 if number == int(number) else 1)


def _day(measure: Measure) -> str:
    return f"{measure.measured_at:%Y-%m-%d}"


def _roofline(words: Wording) -> str:
    return words.say(
        "Roofline: a prompt is read at {compute} of the data sheet's FLOP/s; a step of writing takes what its memory "
        "traffic (weights and KV cache) takes at {bandwidth} of the bandwidth, and {overhead} ms. How many requests "
        "were at work at once follows from the tokens of each busy second where the model ran. Know better? "
        "`costctl benchmarks import`.",
        compute=words.share(Fraction(COMPUTE_EFFICIENCY), 0),
        bandwidth=words.share(Fraction(BANDWIDTH_EFFICIENCY), 0),
        overhead=words.number(Fraction(STEP_OVERHEAD_S * 1000)),
    )


def _caveat(caveat: Caveat, words: Wording) -> str:
    match caveat:
        case Caveat.NO_BF16:
            return words.say("it has no bf16, so models run in fp16.")
        case Caveat.NO_FP8_KV:
            return words.say("it has no FP8 KV cache: leave `--kv-cache-dtype` at auto.")
        case Caveat.WEIGHTS_ONLY:
            return words.say("FP8 weights are computed in 16 bits there: they save memory, not arithmetic.")
