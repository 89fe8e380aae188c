"""The five primitives as plain objects: ordinary methods that return results, and `.futures` twins that do not wait."""
