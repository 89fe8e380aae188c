"""Adapters for the frameworks in which agents are built. Each needs the extra of its name, and only public names.

Nothing here is imported by `import inmem`.
"""
