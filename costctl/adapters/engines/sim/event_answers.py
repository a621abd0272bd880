"""Answers whose streams are named events: OpenAI's responses and Anthropic's messages."""

from __future__ import annotations

from typing import TYPE_CHECKING

from costctl.adapters.engines.sim import generate
from costctl.adapters.engines.sim.answers import Answer
from costctl.adapters.engines.sim.jobs import Form
from costctl.adapters.engines.sim.wire import DONE, ApiError, Body, anthropic_error, encode, event, openai_error

if TYPE_CHECKING:
    from costctl.adapters.engines.sim.jobs import Job


class ResponseAnswer(Answer):
    """`/v1/responses`."""

    form = Form(prompt="input", limits=("max_output_tokens",))

    def __init__(self, job: Job) -> None:
        super().__init__(job)
        self._item_id = f"msg_{job.id}"
        kind = b"response.output_text.delta"
        head = encode({"type": kind.decode(), **self._place(), "logprobs": []})[:-1]
        self._before = b"event: %b\ndata: %b" % (kind, head)

    def whole(self) -> Body:
        """Return a finished `response`."""
        cut = self.job.finish == "length"
        return self._response(status="incomplete" if cut else "completed", cut=cut, done=self.job.length)

    def opening(self) -> bytes:
        """Return the four events before the first token."""
        response = self._response(status="in_progress", cut=False, done=0)
        item = {"id": self._item_id, "type": "message", "role": "assistant", "status": "in_progress", "content": []}
        return b"".join(
            (
                self._event("response.created", 0, {"response": response}),
                self._event("response.in_progress", 1, {"response": response}),
                self._event("response.output_item.added", 2, {"output_index": 0, "item": item}),
                self._event("response.content_part.added", 3, self._place() | {"part": _part(0)}),
            )
        )

    def chunk(self, index: int) -> bytes:
        """Return the delta of one token."""
        return b'%b,"sequence_number":%d,"delta":%b}\n\n' % (self._before, index + 4, generate.escaped(index))

    def closing(self) -> bytes:
        """Return the four events after the last token; this API sends no `[DONE]`."""
        at, done = self.job.length + 4, self.job.length
        return b"".join(
            (
                self._event(
                    "response.output_text.done", at, self._place() | {"text": generate.text(done), "logprobs": []}
                ),
                self._event("response.content_part.done", at + 1, self._place() | {"part": _part(done)}),
                self._event("response.output_item.done", at + 2, {"output_index": 0, "item": self._item(done)}),
                self._event("response.completed", at + 3, {"response": self.whole()}),
            )
        )

    def broken(self, error: ApiError) -> bytes:
        """Return an `error` event."""
        return event("error", {"type": "error", **openai_error(error)}) + DONE

    def _response(self, *, status: str, cut: bool, done: int) -> Body:
        job = self.job
        return {
            "id": f"resp_{job.id}",
            "object": "response",
            "created_at": job.created,
            "status": status,
            "incomplete_details": {"reason": "max_output_tokens"} if cut else None,
            "instructions": None,
            "metadata": None,
            "model": job.model,
            "output": [self._item(done)] if done else [],
            "parallel_tool_calls": True,
            "temperature": 1.0,
            "tool_choice": "none",
            "tools": [],
            "top_p": 1.0,
            "usage": self._usage(done) if done else None,
        }

    def _item(self, done: int) -> Body:
        message = {"id": self._item_id, "type": "message", "role": "assistant", "status": "completed"}
        return message | {"content": [_part(done)]}

    def _usage(self, done: int) -> Body:
        prompt = self.job.prompt_tokens
        return {
            "input_tokens": prompt,
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": done,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": prompt + done,
        }

    def _place(self) -> Body:
        return {"item_id": self._item_id, "output_index": 0, "content_index": 0}

    def _event(self, kind: str, number: int, body: Body) -> bytes:
        return event(kind, {"type": kind, "sequence_number": number, **body})


class MessageAnswer(Answer):
    """`/v1/messages`."""

    form = Form(prompt="messages", limits=("max_tokens",))

    def __init__(self, job: Job) -> None:
        super().__init__(job)
        self._stop_reason = "max_tokens" if job.finish == "length" else "end_turn"
        head = b'{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":'
        self._before = b"event: content_block_delta\ndata: " + head

    def whole(self) -> Body:
        """Return a `message`."""
        content = [{"type": "text", "text": generate.text(self.job.length)}]
        return self._message(content, self._stop_reason, self.job.length)

    def opening(self) -> bytes:
        """Return the two events before the first token."""
        block = {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
        start = {"type": "message_start", "message": self._message([], None, 0)}
        return event("message_start", start) + event("content_block_start", block)

    def chunk(self, index: int) -> bytes:
        """Return the delta of one token."""
        return self._before + generate.escaped(index) + b"}}\n\n"

    def closing(self) -> bytes:
        """Return the three events after the last token; this API sends no `[DONE]`."""
        delta = {"stop_reason": self._stop_reason, "stop_sequence": None}
        usage = self._usage(self.job.length)
        return b"".join(
            (
                event("content_block_stop", {"type": "content_block_stop", "index": 0}),
                event("message_delta", {"type": "message_delta", "delta": delta, "usage": usage}),
                event("message_stop", {"type": "message_stop"}),
            )
        )

    def broken(self, error: ApiError) -> bytes:
        """Return an `error` event."""
        return event("error", anthropic_error(ApiError(error.status, "internal_error", str(error))))

    @staticmethod
    def refusal(error: ApiError) -> Body:
        """Return an error in Anthropic's shape."""
        return anthropic_error(error)

    def _message(self, content: list[Body], stop_reason: str | None, done: int) -> Body:
        return {
            "id": f"chatcmpl-{self.job.id}",
            "type": "message",
            "role": "assistant",
            "content": content,
            "model": self.job.model,
            "stop_reason": stop_reason,
            "stop_sequence": None,
            "usage": self._usage(done),
        }

    def _usage(self, done: int) -> Body:
        return {"input_tokens": self.job.prompt_tokens, "output_tokens": done}


def _part(done: int) -> Body:
    return {"type": "output_text", "text": generate.text(done), "annotations": [], "logprobs": None}
