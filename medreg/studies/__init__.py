"""Studies of methods: Learn2Reg’s evaluation, the benchmark of programs, the search for λ, the capture range."""
