"""The five primitives as plain objects: methods that return results, and `.futures` twins that return at once."""
