"""What is wrong with the installation, and the way out."""
