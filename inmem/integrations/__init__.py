"""Adapters for agent frameworks. Each needs the extra of its name.

`import inmem` imports nothing from here.
"""
