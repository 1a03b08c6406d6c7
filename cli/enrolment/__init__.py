"""The host's side of enrolment: its key, the controller that it trusts, the files that it writes."""
