"""What a report tells beyond figures: where models look, what each layer is worth, and what was cut did before."""
