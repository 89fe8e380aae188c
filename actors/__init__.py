"""The actors that do the work of a store, the messages they exchange, and the dispatchers that run them.

To follow one commit, read in this order: `proxies/kv.py`, `messages/kv.py`, `requests/primitive_actor.py`; in `core/`
then `coordinator.py` (and `engine/commits/pipeline.py`, whose steps it carries out), `shard_actor.py`, `log_writer.py`,
`log_disk.py`. `supervisor.py` starts all of them and replaces those that fail; `dispatch/` runs them.
"""
