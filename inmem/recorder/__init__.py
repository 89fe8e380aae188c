"""Recording of agent transcripts as runs, message by message, as the agents would have written them while running."""

from inmem.recorder.place import TranscriptError
from inmem.recorder.recording import RecordSummary, record_files
from inmem.recorder.source import TranscriptFile, fault_of, read_conversations, read_file

__all__ = [
    "RecordSummary",
    "TranscriptError",
    "TranscriptFile",
    "fault_of",
    "read_conversations",
    "read_file",
    "record_files",
]
