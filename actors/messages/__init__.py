"""Everything the actors say to each other, a module for each conversation.

Requests are imperatives, replies are participles, refusals say so. No message is changed after it was made. What one
holds is values, encoded bytes, persistent tables and refs; never a closure, never a container that somebody may still
change. Two kinds of them hand over more, and whoever sends them keeps nothing of it: those about life and death (an
actor, and what it owes), and those between the log's writer and its disk (an open file).
"""
