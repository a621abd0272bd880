"""Inference requests, read and checked as vLLM does it."""

from __future__ import annotations

import json
import secrets
import time
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from costctl.adapters.engines.sim import generate
from costctl.adapters.engines.sim.wire import ApiError, Body, invalid

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aiohttp import web

    from costctl.adapters.engines.sim.settings import Settings


class Usage(Enum):
    """Where a stream tells its token counts."""

    NOWHERE = 0
    AT_THE_END = 1
    EVERYWHERE = 2


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """One answer to generate."""

    id: str
    model: str
    created: int
    prompt_tokens: int
    length: int
    finish: str
    stream: bool
    usage: Usage

    def usage_at(self, done: int) -> dict[str, int]:
        """Return the token counts once `done` tokens are out."""
        return {
            "prompt_tokens": self.prompt_tokens,
            "total_tokens": self.prompt_tokens + done,
            "completion_tokens": done,
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class Form:
    """Where an API keeps the prompt and the length of the answer."""

    prompt: str
    limits: Sequence[str]
    default_limit: int | None = None


async def read_body(request: web.Request) -> Body:
    """Return the JSON object of a request.

    Raises:
        ApiError: not a JSON object.
    """
    try:
        body = json.loads(await request.read())
    except ValueError as error:
        reason = getattr(error, "msg", "not UTF-8")
        raise invalid(
            "body.1", f"'type': 'json_invalid', 'loc': 'body.1', 'msg': 'JSON decode error: {reason}'"
        ) from error
    if not isinstance(body, dict):
        raise invalid(
            "body", "'type': 'model_attributes_type', 'loc': 'body', 'msg': 'Input should be a valid dictionary'"
        )
    return body


def read_job(body: Body, form: Form, settings: Settings, request_id: str | None) -> Job:
    """Return the job that `body` asks for.

    Raises:
        ApiError: a missing prompt, an unknown model, or more tokens than the model has.
    """
    prompt = required(body, form.prompt)
    return make_job(body, form, settings, request_id, _prompt_tokens(prompt, settings.max_model_len))


def make_job(body: Body, form: Form, settings: Settings, request_id: str | None, prompt_tokens: int) -> Job:
    """Return the job that `body` asks for, whose prompt has that many tokens.

    Raises:
        ApiError: an unknown model, or more tokens than the model has.
    """
    check_model(body, settings)
    length, finish = _length(body, form, settings.max_model_len, prompt_tokens)
    return Job(
        id=request_id or secrets.token_hex(8),
        model=settings.served_model_name,
        created=int(time.time()),
        prompt_tokens=prompt_tokens,
        length=length,
        finish=finish,
        stream=str(body.get("stream")).lower() in {"true", "1"},  # a form's fields are text
        usage=_usage(body, force=settings.force_include_usage),
    )


def required(body: Body, key: str) -> object:
    """Return a field that has to be there.

    Raises:
        ApiError: it is not.
    """
    if body.get(key) is None:
        raise invalid(f"body.{key}", f"'type': 'missing', 'loc': 'body.{key}', 'msg': 'Field required'")
    return body[key]


def check_model(body: Body, settings: Settings) -> None:
    """Refuse a model that is not served; a request may leave it out.

    Raises:
        ApiError: another model.
    """
    served = settings.served_model_name
    if body.get("model") not in (None, served):
        message = f"The model `{body['model']}` does not exist. Valid aliases: {served}."
        raise ApiError(404, "NotFoundError", message, "model")


def _prompt_tokens(prompt: object, longest: int) -> int:
    template = generate.CHAT_TEMPLATE_TOKENS * (len(prompt) if isinstance(prompt, list) else 0)
    count = max(1, generate.count_tokens(prompt) + template)
    if count >= longest:
        message = (
            f"This model's maximum context length is {longest} tokens. However, your prompt contains {count} input "
            "tokens, which exceeds this limit even without any output tokens. Please reduce the length of the input "
            f"prompt. (parameter=input_tokens, value={count})"
        )
        raise ApiError(400, "BadRequestError", message, "input_tokens")
    return count


def _length(body: Body, form: Form, longest: int, prompt_tokens: int) -> tuple[int, str]:
    """Return how many tokens the answer has, and the reason for which it ends."""
    room = longest - prompt_tokens
    given = ((key, body[key]) for key in form.limits if body.get(key) is not None)
    key, limit = next(given, ("", form.default_limit))
    if limit is None:
        return (room, "length") if body.get("ignore_eos") else (min(room, generate.DEFAULT_LENGTH), "stop")
    if not isinstance(limit, int) or limit < 1:
        raise ApiError(400, "BadRequestError", f"{key} must be at least 1, got {limit}.", key)
    if limit > longest:
        message = f"{key}={limit} cannot be greater than max_model_len={longest}. Please request fewer output tokens."
        raise ApiError(400, "BadRequestError", f"{message} (parameter={key}, value={limit})", key)
    return min(limit, room), "length"


def _usage(body: Body, *, force: bool) -> Usage:
    options = body.get("stream_options")
    options = options if isinstance(options, dict) else {}
    if force or (options.get("include_usage") and options.get("continuous_usage_stats")):
        return Usage.EVERYWHERE
    return Usage.AT_THE_END if options.get("include_usage") else Usage.NOWHERE
