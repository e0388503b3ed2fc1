"""Cases × methods under one protocol: every method gets the same files, and its field is judged by one evaluation."""
