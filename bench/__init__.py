"""What alertbot costs, beside its floor."""
