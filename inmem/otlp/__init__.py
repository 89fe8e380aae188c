"""Traces as OpenTelemetry spans: mapped by the GenAI semantic conventions and written as OTLP JSON.

This package needs no OpenTelemetry package. The span exporter, which needs one, is inmem.integrations.opentelemetry.
"""

from inmem.otlp.export import run_to_otlp

__all__ = ["run_to_otlp"]
