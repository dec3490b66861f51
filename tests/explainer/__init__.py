"""The explainer: what is shared, what is refused, what an image may depend on."""
