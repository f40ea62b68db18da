"""The similarity pass: how much of the gradient remains without the temporal gradients of some neurons."""
