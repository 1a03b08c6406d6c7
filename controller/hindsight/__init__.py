"""What a candidate policy would have decided over a recorded log, held to what was decided then."""
