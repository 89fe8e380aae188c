"""Adapters for agent frameworks. Each needs the extra of its name and uses only public names.

`import inmem` imports nothing from here.
"""
