"""The repository in one snapshot file and the journal beside it: durable, for one small server, a file to copy."""

from runcast.server.repository.file.repository import FileRepository as FileRepository
