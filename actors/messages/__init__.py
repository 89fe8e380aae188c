"""Everything the actors say to each other, split by who receives it.

Requests are imperatives, replies are participles, refusals say so. A message holds values, encoded bytes, persistent
tables or refs: never a closure, never a mutable container.
"""
