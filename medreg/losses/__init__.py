"""The terms of the registration energy: similarities, regularisers and their sum."""
