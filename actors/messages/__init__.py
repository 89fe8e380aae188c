"""The messages between actors, one module per conversation.

Requests are named with imperatives, replies with participles, and refusals are named as such. Messages are immutable.
They hold values, encoded bytes, persistent tables and refs, but no closures and no mutable containers. Two kinds also
transfer ownership, and the sender keeps no reference: lifecycle messages (an actor and the answers it owes), and
messages between the log writer and its disk (an open file).
"""
