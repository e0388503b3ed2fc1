"""What is measured of hearts, and of populations of them."""
