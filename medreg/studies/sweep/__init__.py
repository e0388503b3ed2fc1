"""What a sweep found: means over seeds, the best, which options mattered; from its run folders."""
