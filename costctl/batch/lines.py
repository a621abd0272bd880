"""One line of JSON, understood as a request."""

from __future__ import annotations

import json
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

from costctl.batch.defaults import canonical_json
from costctl.batch.values import Form, Job, shown
from costctl.domain.routes import BATCH_ENDPOINTS, Endpoint
from costctl.errors import BadValueError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from costctl.batch.defaults import Defaults

_BATCH_FIELDS = frozenset({"custom_id", "method", "url", "body"})
_MOST_NAMES = 5
_CHAT, _COMPLETIONS = "/v1/chat/completions", "/v1/completions"
_NEEDED: Mapping[Endpoint, tuple[tuple[str, ...], ...]] = {
    Endpoint.CHAT: (("messages",),),
    Endpoint.COMPLETIONS: (("prompt", "prompt_embeds"),),
    Endpoint.RESPONSES: (("input", "prompt"),),
    Endpoint.EMBEDDINGS: (("input", "messages"),),
    Endpoint.SCORE: (("text_1", "queries", "data_1"), ("text_2", "documents", "items", "data_2")),
    Endpoint.RERANK: (("query",), ("documents",)),
}
"""What a body cannot do without: of each group one, the usual one first."""
_SAMPLING = frozenset((Endpoint.CHAT, Endpoint.COMPLETIONS, Endpoint.RESPONSES))


@dataclass(frozen=True, kw_only=True, slots=True)
class Draft:
    """What was written, before the defaults."""

    custom_id: str | None
    path: str
    body: Mapping[str, Any]
    form: Form


def read_draft(text: str, *, prompts_are_chats: bool) -> Draft:
    """Return what a line of JSON asks for, in whichever form.

    Raises:
        BadValueError: it is no request.
    """
    fields = _object(text)
    if not fields.keys().isdisjoint(("url", "body", "method")):
        return _batch_draft(fields)
    custom_id = _custom_id(fields.pop("custom_id", None), fields.pop("id", None))
    if "messages" in fields:
        return Draft(custom_id=custom_id, path=_CHAT, body=fields, form=Form.MESSAGES)
    if "prompt" not in fields:
        raise BadValueError("has neither url and body, nor messages, nor prompt")
    return prompt_draft(custom_id, fields, Form.PROMPT, as_chat=prompts_are_chats)


def prompt_draft(custom_id: str | None, fields: dict[str, Any], form: Form, *, as_chat: bool) -> Draft:
    """Return what a plain `prompt` asks for, in a chat after its own `system` text; other fields go along.

    Raises:
        BadValueError: it is no text.
    """
    if not as_chat:
        return Draft(custom_id=custom_id, path=_COMPLETIONS, body=fields, form=form)
    prompt, system = fields.pop("prompt"), fields.pop("system", None)
    if not isinstance(prompt, str) or not isinstance(system, str | None):
        raise BadValueError("prompt and system of a chat are texts: use a line with url and body for anything else")
    if not prompt:
        raise BadValueError("the prompt is empty")
    before = [{"role": "system", "content": system}] if system else []
    messages = [*before, {"role": "user", "content": prompt}]
    return Draft(custom_id=custom_id, path=_CHAT, body={**fields, "messages": messages}, form=form)


def job_of(line: int, draft: Draft, defaults: Defaults) -> Job:
    """Return the request of a line with the defaults in it.

    Raises:
        BadValueError: it lacks something, or cannot be sent.
    """
    endpoint = BATCH_ENDPOINTS[draft.path]
    _demand(endpoint, draft)
    body = defaults.applied(endpoint, draft.body)
    model = body.get("model")
    if not isinstance(model, str) or not model:
        raise BadValueError("no model: name it in the line, or for all lines with --model")
    try:
        content = canonical_json(body)
    except ValueError as error:
        raise BadValueError(f"cannot be sent as JSON: {error}") from None
    custom_id = draft.custom_id or f"line-{line}"
    return Job(
        line=line,
        custom_id=custom_id,
        path=draft.path,
        body=content,
        model=model,
        form=draft.form,
        is_sample=endpoint in _SAMPLING and _is_sample(body),
    )


def _is_sample(body: Mapping[str, Any]) -> bool:
    temperature = body.get("temperature")
    return isinstance(temperature, int | float) and temperature > 0 and body.get("seed") is None


def _object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        column = min(error.pos, len(text.rstrip())) + 1
        raise BadValueError(f"not JSON: column {column}: {error.msg}") from None
    except RecursionError:
        raise BadValueError("not JSON that can be read: nested too deeply") from None
    except ValueError as error:
        raise BadValueError(f"not JSON that can be read: {error}") from None
    if not isinstance(value, dict):
        raise BadValueError('not a JSON object: each line is one request, like {"prompt": "..."}')
    return value


def _batch_draft(fields: Mapping[str, Any]) -> Draft:
    if unknown := fields.keys() - _BATCH_FIELDS:
        raise BadValueError(f"unknown field {_quoted(sorted(unknown))}: a line has custom_id, method, url and body")
    if missing := [name for name in ("url", "body") if name not in fields]:
        raise BadValueError(f"{_quoted(missing)} is missing")
    if (method := fields.get("method", "POST")) != "POST":
        raise BadValueError(f"unknown method {shown(method)}: requests are POST")
    path, body = fields["url"], fields["body"]
    if not isinstance(path, str) or path not in BATCH_ENDPOINTS:
        raise BadValueError(f"unknown url {shown(path)}: one of {', '.join(BATCH_ENDPOINTS)}")
    if not isinstance(body, dict):
        raise BadValueError("body is not a JSON object")
    return Draft(custom_id=_custom_id(fields.get("custom_id")), path=path, body=body, form=Form.BATCH)


def _custom_id(*given: object) -> str | None:
    """Return the first name that was given; numbers are names too."""
    value = next((value for value in given if value is not None), None)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, str | int) or value == "":
        raise BadValueError(f"custom_id is {shown(value)}, not a text")
    return str(value)


def _demand(endpoint: Endpoint, draft: Draft) -> None:
    for names in _NEEDED[endpoint]:
        if not any(draft.body.get(name) for name in names):
            raise BadValueError(f"{draft.path} needs {names[0]!r} in its body")
    if endpoint is Endpoint.CHAT and not isinstance(draft.body["messages"], list):
        raise BadValueError("messages is not a list")


def _quoted(names: Iterable[str]) -> str:
    return ", ".join(map(shown, islice(names, _MOST_NAMES)))
