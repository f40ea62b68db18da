"""Tables, figures and sentences, drawn from the records alone."""
