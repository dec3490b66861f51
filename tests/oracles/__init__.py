"""Each method against other implementations of it, on a trained model and photographs."""
