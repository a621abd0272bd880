"""The files that clients of the front door keep here: what there is, and how much room is left."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

from costctl.domain.stored_files import Purpose, StoredFile
from costctl.errors import CostctlError, StorageFullError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable, Mapping
    from pathlib import Path

    from costctl.ports import Clock, FileStore, Upload

logger = logging.getLogger(__name__)

PREFIX = "file-"


class StoredFiles:
    """All of them; `new_id` makes ids that grow with time."""

    def __init__(self, *, store: FileStore, clock: Clock, most_bytes: int, new_id: Callable[[str], str]) -> None:
        self._store = store
        self._clock = clock
        self._most_bytes = most_bytes
        self._new_id = new_id
        self._files: dict[str, StoredFile] = {}
        self._coming_bytes = 0

    def adopt(self, records: Iterable[Mapping[str, Any]]) -> None:
        """Take over what was kept."""
        for record in records:
            if str(record.get("id")).startswith(PREFIX):
                try:
                    file = StoredFile(**record)
                except TypeError as error:
                    logger.error("%s is left out: %s", record.get("id"), error)  # noqa: TRY400 - the words say it
                    continue
                self._files[file.id] = file

    def all(self, purpose: str | None = None) -> list[StoredFile]:
        """Return all files, or those of one purpose."""
        return [file for file in self._files.values() if purpose in (None, file.purpose)]

    def find(self, identity: str) -> StoredFile | None:
        """Return a file."""
        return self._files.get(identity)

    def content(self, file: StoredFile) -> Path:
        """Return where its content is."""
        return self._store.content(file.id)

    def new_id(self) -> str:
        """Return the id of a file to come."""
        return self._new_id(PREFIX)

    async def begin(self) -> Incoming:
        """Begin an upload. Raises CostctlError, StorageFullError."""
        identity = self.new_id()
        return Incoming(self, identity, await asyncio.to_thread(self._store.upload, identity))

    async def delete(self, file: StoredFile) -> None:
        """Remove a file. Raises CostctlError."""
        await self.forget(file.id)

    async def forget(self, identity: str) -> None:
        """Remove what there is of a file. Raises CostctlError."""
        self._files.pop(identity, None)
        await asyncio.to_thread(self._store.remove, identity)

    async def sweep(self) -> None:
        """Remove files that have expired. Raises CostctlError."""
        now = self.now()
        for file in [file for file in self._files.values() if file.expires_at <= now]:
            logger.info("%s (%s) has expired", file.id, file.filename)
            await self.delete(file)

    async def keep(self, identity: str, filename: str, purpose: Purpose, size_bytes: int, kept_s: int) -> StoredFile:
        """Take note of a file whose content is there; doing it again changes nothing. Raises CostctlError."""
        now = self.now()
        file = StoredFile(
            id=identity,
            filename=filename,
            size_bytes=size_bytes,
            purpose=purpose.value,
            created_at=now,
            expires_at=now + kept_s,
        )
        await asyncio.to_thread(self._store.save, identity, file.as_json())
        self._files[identity] = file
        return file

    def now(self) -> int:
        """Return the time as OpenAI's API tells it."""
        return int(self._clock.now().timestamp())

    def demand_room(self, more_bytes: int) -> None:
        """Do nothing if there is room for so much more. Raises StorageFullError."""
        taken = sum(file.size_bytes for file in self._files.values()) + self._coming_bytes
        if taken + more_bytes > self._most_bytes:
            raise StorageFullError(
                f"there is room for {self._most_bytes:,} bytes of files (--files-max-size), of which {taken:,} are "
                "taken: delete some"
            )

    def take_room(self, size_bytes: int) -> None:
        """Count what is coming in; negative if it has come, or will not. Raises StorageFullError."""
        if size_bytes > 0:
            self.demand_room(size_bytes)
        self._coming_bytes += size_bytes


class Incoming:
    """One upload: it is kept whole, or nothing of it stays."""

    def __init__(self, files: StoredFiles, identity: str, upload: Upload) -> None:
        self._files = files
        self._identity = identity
        self._upload = upload
        self._size_bytes = 0
        self._is_kept = False
        self._under_way: asyncio.Future[Any] | None = None

    async def write(self, content: bytes) -> None:
        """Take the next piece. Raises CostctlError, StorageFullError."""
        self._files.take_room(len(content))
        self._size_bytes += len(content)
        await self._see_through(asyncio.to_thread(self._upload.write, content))

    async def keep(self, *, filename: str, purpose: Purpose, kept_s: int) -> StoredFile:
        """Keep it. Raises CostctlError, StorageFullError."""
        file: StoredFile = await self._see_through(self._keep(filename, purpose, kept_s))
        return file

    async def close(self) -> None:
        """Let go of it; what was not kept is gone."""
        if self._under_way is not None:
            await asyncio.wait({self._under_way})
        self._files.take_room(-self._size_bytes)
        if not self._is_kept:
            await asyncio.to_thread(self._upload.discard)

    async def _keep(self, filename: str, purpose: Purpose, kept_s: int) -> StoredFile:
        await asyncio.to_thread(self._upload.keep)
        self._is_kept = True
        try:
            return await self._files.keep(self._identity, filename, purpose, self._size_bytes, kept_s)
        except CostctlError:
            await self._files.forget(self._identity)
            raise

    async def _see_through(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Do a piece of work to its end, also if the client leaves meanwhile: its thread cannot be stopped."""
        self._under_way = asyncio.ensure_future(work)
        return await asyncio.shield(self._under_way)
