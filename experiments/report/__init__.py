"""What a reader sees of a run: figures, sequence charts, the page; drawn from its files alone."""
