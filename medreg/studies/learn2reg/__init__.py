"""Learn2Reg as the challenge judges: configs, file names, official and corrected metrics, result files."""
