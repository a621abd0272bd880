"""A mail server that keeps what it is given."""

import asyncio
from email import message_from_bytes, policy


class MailSink:
    """Speaks as much SMTP as it takes to receive mail; `refusal` is answered to every recipient instead."""

    def __init__(self, *, refusal=None):
        self.refusal = refusal
        self.mails = []
        self.recipients = []

    async def __aenter__(self):
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_):
        self._server.close()
        await self._server.wait_closed()

    async def _serve(self, reader, writer):
        answer = b"220 here"
        while answer:
            writer.write(answer + b"\r\n")
            answer = await self._answer(reader, (await reader.readline()).decode().strip())
        writer.close()

    async def _answer(self, reader, line):
        if not line or line.upper() == "QUIT":
            return None
        if line.upper() == "DATA":
            return b"354 go on"
        if line.upper().startswith("RCPT"):
            self.recipients.append(line.partition(":")[2].split()[0].strip("<>"))
            return (self.refusal or "250 ok").encode()
        if line.upper().startswith(("EHLO", "HELO", "MAIL", "RSET")):
            return b"250 ok"
        content = line.encode() + b"\r\n" + await reader.readuntil(b"\r\n.\r\n")
        self.mails.append(message_from_bytes(content[:-3], policy=policy.default))
        return b"250 ok"
