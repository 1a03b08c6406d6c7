"""Traces of one fault: what happened to it in agent, broker, controller and scheduler, as OpenTelemetry spans."""
