"""What a log of events says about a span of time: availability, faults, repairs, and what they cost. Pure.

One small module a subject; `fold.Fold` takes entries in order and gives the report. It folds the log by itself, beside
belief: a report must also be had from a log whose beginning was deleted, of which belief cannot be made.
"""
