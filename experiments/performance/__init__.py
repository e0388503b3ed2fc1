"""What the operators, steps and loops cost beside other tools, and beside what the machine allows."""
