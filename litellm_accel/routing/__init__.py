"""What component ``routing`` is made of: filters, accounting, and the proof that both equal stock."""
