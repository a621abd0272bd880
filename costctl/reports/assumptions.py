"""What a comparison of GPUs rests on, in words."""

from __future__ import annotations

from collections import defaultdict
from fractions import Fraction
from typing import TYPE_CHECKING

from costctl.domain.fit import MEMORY_SHARE, Caveat, Verdict, caveats
from costctl.domain.offers import Market
from costctl.domain.roofline import BANDWIDTH_EFFICIENCY, COMPUTE_EFFICIENCY, STEP_OVERHEAD_S
from costctl.domain.speed import Basis, Ground, Speed

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from costctl.domain.comparison import Comparison, Row
    from costctl.domain.on_gpu import OnGpu, Part
    from costctl.domain.workload import Measure, Plan
    from costctl.reports.wording import Wording


def assumptions(found: Comparison, words: Wording) -> Iterator[str]:
    """Yield what the hours rest on: GPU by GPU, then what all have in common. Where work does not fit, it has none."""
    possible = [on for on in found.gpus if on.verdict is not Verdict.TOO_LARGE]
    yield from _by_gpu(((on.gpu.name, text) for on in possible for text in _grounds(on, words)), words)
    if any(part.speed.ground.basis is Basis.ESTIMATED for on in possible for part in on.parts):
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


def assumption(parts: Sequence[Part], words: Wording) -> str:
    """Return in words what the hours of loads on a GPU rest on, which have the same ground and measure."""
    speed = parts[0].speed
    models = words.listed(dict.fromkeys(_model(part, words) for part in parts))
    match speed.ground:
        case Ground.OWN:
            return words.say("measured: {models} ran on it.", models=models)
        case Ground.LEDGER:
            return _by_ledger(speed, models, words)
        case Ground.BENCHMARK:
            return _by_benchmark(parts, models, words)
        case Ground.ROOFLINE:
            return words.say("estimated by roofline for {models}.", models=_at_once_each(parts, words))
        case Ground.GIVEN:
            return words.say("the hours are as given, on every GPU the same.")
        case Ground.NO_TRAFFIC:
            return words.say("no tokens of {models} were counted, so the hours stay as they were.", models=models)
        case Ground.UNKNOWN_GPU:
            return words.say(
                "{models} ran on a GPU of which no facts are known, so the hours stay as they were.", models=models
            )
        case Ground.UNKNOWN_MODEL:
            return words.say("the speed of {models} is not known, so the hours stay as they are.", models=models)


def remarks(found: Comparison, words: Wording) -> Iterator[str]:
    """Yield what should be known before renting one of these GPUs."""
    unknown = sorted({part.load.model for on in found.gpus for part in on.parts if part.load.model and not part.model})
    if unknown:
        yield words.say(
            "Not known here, so neither is whether it fits: {models}. Name the folder of the model's files instead. "
            "Its speed can be measured with `vllm bench serve` and imported with `costctl benchmarks import`.",
            models=words.listed(unknown),
        )
    possible = [on for on in found.gpus if on.verdict is not Verdict.TOO_LARGE]
    yield from _by_gpu(((on.gpu.name, text) for on in possible for text in _needs(on, words)), words)
    yield from _by_gpu(((row.on.gpu.name, text) for row in found.rows for text in _row_remarks(row, words)), words)


def _by_gpu(said: Iterable[tuple[str, str]], words: Wording) -> Iterator[str]:
    """Yield each text once, after the names of the GPUs of which it is said."""
    gpus_by_text: defaultdict[str, list[str]] = defaultdict(list)
    for gpu, text in dict.fromkeys(said):
        gpus_by_text[text].append(gpu)
    yield from (words.say("{gpus}: {text}", gpus=words.listed(gpus), text=text) for text, gpus in gpus_by_text.items())


def _grounds(on: OnGpu, words: Wording) -> Iterator[str]:
    """Yield what the hours on a GPU rest on, once for all loads of which the same is to be said."""
    alike: defaultdict[tuple[Ground, Measure | None], list[Part]] = defaultdict(list)
    for part in on.parts:
        if part.load.busy is None or part.load.busy:
            alike[part.speed.ground, part.speed.measure].append(part)
    firmest_first = sorted(alike.items(), key=lambda item: item[0][0].weakness)
    yield from (assumption(parts, words) for _, parts in firmest_first)


def _needs(on: OnGpu, words: Wording) -> Iterator[str]:
    """Yield in one text what a GPU asks of those who use it, if it is anything."""
    said = [words.say("vLLM needs `{flags}`.", flags=" ".join(on.flags))] if on.flags else []
    models = {part.model.name: part.model for part in on.parts if part.model}
    known = dict.fromkeys(one for model in models.values() or (None,) for one in caveats(on.gpu, model))
    said += [_caveat(caveat, words) for caveat in known]
    if said:
        yield words.together(said)


def _row_remarks(row: Row, words: Wording) -> Iterator[str]:
    if row.price is None:
        yield words.say("no price is known; set one with `costctl prices set`.")
    if row.offer and row.offer.gpu_count > 1:
        yield words.say(
            "only machines with {count} GPUs are offered; the price is the share of one.",
            count=words.number(row.offer.gpu_count),
        )
    if row.is_possible and row.is_overfull:
        yield words.count(
            "the work does not get done in the time; it needs more than one machine.",
            "the work does not get done in the time; it needs more than {number} machines.",
            row.machines,
        )


def _model(part: Part, words: Wording) -> str:
    return part.load.model or words.say("the work")


def _by_ledger(speed: Speed, models: str, words: Wording) -> str:
    assert speed.measure is not None  # noqa: S101 - that is its ground
    return words.say(
        "measured: by the pace of {models} in {busy} of work on it, up to {day}, in this ledger.",
        models=models,
        busy=words.length(speed.measure.busy),
        day=_day(speed.measure),
    )


def _by_benchmark(parts: Sequence[Part], models: str, words: Wording) -> str:
    measure = parts[0].speed.measure
    assert measure is not None  # noqa: S101 - that is its ground
    at_once = measure.concurrency
    facts = {
        "day": _day(measure),
        "during": words.say("as many as it takes") if at_once is None else words.number(at_once),
    }
    if parts[0].model is None:
        return words.say(
            "measured: by the pace of {models} in a benchmark of {day} at saturation ({during} requests at once): "
            "people seldom keep a GPU so full, so expect more hours.",
            models=models,
            **facts,
        )
    return words.say(
        "measured: by a benchmark of {day} at saturation ({during} requests at once), carried over by roofline to "
        "{models}.",
        models=_at_once_each(parts, words),
        **facts,
    )


def _at_once_each(parts: Sequence[Part], words: Wording) -> str:
    """Return the models with how many requests are taken to be at work at once."""
    numbers: defaultdict[str, list[float]] = defaultdict(list)
    for part in parts:
        numbers[_model(part, words)].append(part.speed.concurrency or 1)
    models: defaultdict[str, list[str]] = defaultdict(list)
    for model, found in numbers.items():
        models[_range(found, words)].append(model)
    return words.listed(
        words.say("{models} ({number} at once)", models=words.listed(names), number=number)
        for number, names in models.items()
    )


def _range(numbers: Sequence[float], words: Wording) -> str:
    ends = dict.fromkeys(round(number, 1) for number in (min(numbers), max(numbers)))
    return "-".join(words.number(Fraction(end), 0 if end == int(end) else 1) for end in ends)


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


def _day(measure: Measure) -> str:
    return f"{measure.measured_at:%Y-%m-%d}"


def _roofline(words: Wording) -> str:
    return words.say(
        "Roofline: a prompt is read at {compute} of the data sheet's FLOP/s; a step of writing takes what its memory "
        "traffic (weights and KV cache) takes at {bandwidth} of the bandwidth, and {overhead} ms. How many requests "
        "were at work at once follows from the tokens of each busy second where the model ran. A measure is better: "
        "`costctl benchmarks import`.",
        compute=words.share(Fraction(COMPUTE_EFFICIENCY), 0),
        bandwidth=words.share(Fraction(BANDWIDTH_EFFICIENCY), 0),
        overhead=words.number(Fraction(STEP_OVERHEAD_S * 1000)),
    )


def _caveat(caveat: Caveat, words: Wording) -> str:
    match caveat:
        case Caveat.NO_BF16:
            return words.say("It has no bf16, so models run in fp16.")
        case Caveat.NO_FP8_KV:
            return words.say("It has no FP8 KV cache: leave `--kv-cache-dtype` at auto.")
        case Caveat.WEIGHTS_ONLY:
            return words.say("FP8 weights are computed in 16 bits there: they save memory, not arithmetic.")
