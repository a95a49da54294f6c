"""How DVC enters the code, and what is promised at each hand-over."""
