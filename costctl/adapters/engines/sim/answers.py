"""Answers in OpenAI's chat and completion shapes, whole and in chunks."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar

from costctl.adapters.engines.sim import generate
from costctl.adapters.engines.sim.jobs import Form, Usage
from costctl.adapters.engines.sim.wire import DONE, ApiError, Body, encode, openai_error

if TYPE_CHECKING:
    from costctl.adapters.engines.sim.jobs import Job

FINGERPRINT = "vllm-0.32.0-simulated"


class Answer(ABC):
    """How one API words an answer; `job` says what the answer is."""

    form: ClassVar[Form]

    def __init__(self, job: Job) -> None:
        self.job = job

    @abstractmethod
    def whole(self) -> Body:
        """Return the answer in one piece."""

    @abstractmethod
    def opening(self) -> bytes:
        """Return what a stream begins with."""

    @abstractmethod
    def chunk(self, index: int) -> bytes:
        """Return the event that carries the token at `index`."""

    @abstractmethod
    def closing(self) -> bytes:
        """Return what a stream ends with."""

    def broken(self, error: ApiError) -> bytes:
        """Return what a stream ends with that the engine had to break off."""
        return b"data: " + encode(self.refusal(error)) + b"\n\n" + DONE

    @staticmethod
    def refusal(error: ApiError) -> Body:
        """Return the body of an error answer."""
        return openai_error(error)


class _OpenAiAnswer(Answer):
    """What chats, completions and transcriptions have in common."""

    prefix: ClassVar[str]
    chunk_kind: ClassVar[str]

    def __init__(self, job: Job) -> None:
        super().__init__(job)
        head = {"id": f"{self.prefix}-{job.id}", "object": self.chunk_kind, "created": job.created, "model": job.model}
        # The part before the token and the part after it are the same in every chunk: only the token is put between.
        self._head = b"data: " + encode(head)[:-1] + b',"choices":['
        self._before, self._after = self._around_token()

    def opening(self) -> bytes:
        return b""

    def chunk(self, index: int) -> bytes:
        job = self.job
        finish = encode(job.finish) if index == job.length - 1 else b"null"
        usage = self._usage(index + 1) if job.usage is Usage.EVERYWHERE else b""
        return b"".join((self._before, generate.escaped(index), self._after, finish, b"}]", usage, b"}\n\n"))

    def closing(self) -> bytes:
        if self.job.usage is Usage.NOWHERE:
            return DONE
        return self._head + b"]" + self._usage(self.job.length) + b"}\n\n" + DONE

    @abstractmethod
    def _around_token(self) -> tuple[bytes, bytes]:
        """Return a chunk up to the token, and from there to the finish reason."""

    def _usage(self, done: int) -> bytes:
        prompt = self.job.prompt_tokens
        counts = (prompt, prompt + done, done)
        return b',"usage":{"prompt_tokens":%d,"total_tokens":%d,"completion_tokens":%d}' % counts

    def _envelope(self, kind: str, choice: Body) -> Body:
        job = self.job
        return {
            "id": f"{self.prefix}-{job.id}",
            "object": kind,
            "created": job.created,
            "model": job.model,
            "choices": [{"index": 0, **choice, "logprobs": None, "finish_reason": job.finish, "stop_reason": None}],
            "system_fingerprint": FINGERPRINT,
            "usage": job.usage_at(job.length) | {"prompt_tokens_details": None},
        }


class ChatAnswer(_OpenAiAnswer):
    """`/v1/chat/completions`."""

    form = Form(prompt="messages", limits=("max_completion_tokens", "max_tokens"))
    prefix = "chatcmpl"
    chunk_kind = "chat.completion.chunk"

    def whole(self) -> Body:
        """Return a `chat.completion`."""
        message = {"role": "assistant", "content": generate.text(self.job.length), "refusal": None, "reasoning": None}
        return self._envelope("chat.completion", {"message": message})

    def opening(self) -> bytes:
        """Return the chunk that names the role."""
        usage = self._usage(0) if self.job.usage is Usage.EVERYWHERE else b""
        choice = b'{"index":0,"delta":{"role":"assistant","content":""},"logprobs":null,"finish_reason":null}'
        return self._head + choice + b"]" + usage + b"}\n\n"

    def _around_token(self) -> tuple[bytes, bytes]:
        return self._head + b'{"index":0,"delta":{"content":', b'},"logprobs":null,"finish_reason":'


class CompletionAnswer(_OpenAiAnswer):
    """`/v1/completions`."""

    form = Form(prompt="prompt", limits=("max_tokens",), default_limit=16)
    prefix = "cmpl"
    chunk_kind = "text_completion"

    def whole(self) -> Body:
        """Return a `text_completion`."""
        return self._envelope("text_completion", {"text": generate.text(self.job.length)})

    def _around_token(self) -> tuple[bytes, bytes]:
        return self._head + b'{"index":0,"text":', b',"logprobs":null,"stop_reason":null,"finish_reason":'


class TranscriptionAnswer(_OpenAiAnswer):
    """`/v1/audio/transcriptions`."""

    form = Form(prompt="file", limits=())
    prefix = "trsc"
    chunk_kind = "transcription.chunk"

    def whole(self) -> Body:
        """Return the text and the length of the audio, at 16 bits and 16 kHz."""
        seconds = -(-self.job.prompt_tokens // 50)  # fifty tokens a second, as Whisper's encoder has it
        return {"text": generate.text(self.job.length), "usage": {"type": "duration", "seconds": seconds}}

    def _around_token(self) -> tuple[bytes, bytes]:
        return self._head + b'{"delta":{"content":', b'},"stop_reason":null,"finish_reason":'


class TranslationAnswer(TranscriptionAnswer):
    """`/v1/audio/translations`."""

    prefix = "trsl"
    chunk_kind = "translation.chunk"
