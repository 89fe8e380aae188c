"""Recording of agent transcripts as runs, message by message, as the agents would have written them while running."""

from inmem.recorder.place import TranscriptError
from inmem.recorder.recording import RecordSummary, record_files
from inmem.recorder.source import fault_of, read_conversations

__all__ = ["RecordSummary", "TranscriptError", "fault_of", "read_conversations", "record_files"]
