"""Traces in the terms of OpenTelemetry: spans by the GenAI semantic conventions, written as OTLP JSON.

Nothing here needs a package of OpenTelemetry; the exporter that does is inmem.integrations.opentelemetry.
"""

from inmem.otlp.export import run_to_otlp

__all__ = ["run_to_otlp"]
