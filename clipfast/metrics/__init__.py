"""Figures about results. `*_score`: up is better; `*_error`: down is better."""
