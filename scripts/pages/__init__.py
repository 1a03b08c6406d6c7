"""One file a page of docs/reference: a pure function of what can be imported."""
