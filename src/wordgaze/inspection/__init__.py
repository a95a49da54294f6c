"""What ``wordgaze data check`` says of a data set before anything is trained: facts, faults, advice, and a page."""
